"""The words of the project as frozen dataclasses: tenancy, knowledge, conversation, events. No I/O, no framework."""
