"""The event log's consumers: tail by LISTEN/NOTIFY; Kafka through Quix Streams when it grows."""

from frontdesk.events.tail import tail

__all__ = ["tail"]
