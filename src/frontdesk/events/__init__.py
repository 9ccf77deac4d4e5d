"""The event log's consumers: tail by LISTEN/NOTIFY; Kafka through Quix Streams when it grows."""
