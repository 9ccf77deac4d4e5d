"""What of a tenant's log can be exported, and in which form. Apart from the exporting itself, which takes a second to load."""

from __future__ import annotations

from enum import StrEnum


class What(StrEnum):
    """The tables."""

    MESSAGES = "messages"
    TURNS = "turns"
    EVENTS = "events"
    OUTCOMES = "outcomes"


class Format(StrEnum):
    """The forms of a file."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
