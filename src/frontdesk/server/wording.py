"""Text on its way in: what may be in it, how long it may be. Never changes words; refuses emptiness and ids that cannot exist."""

from __future__ import annotations

import re
import unicodedata

from frontdesk.desk.guardrails import cleaned
from frontdesk.errors import BadInput, NotFound
from frontdesk.server.problems import NOWHERE, BadField

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,200}")


def without_controls(text: str) -> str:
    """`text` without control characters and broken surrogates, which no database can keep."""
    if text.isprintable():
        return text
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def customer_message(text: str, limit: int, field: str) -> str:
    """A message that can be answered. Raises BadInput for one without readable content, TooLarge above `limit` characters."""
    try:
        return cleaned(text, limit=limit)
    except BadInput as why:
        raise BadField(str(why), field) from None


def said_before(role: str, text: str) -> str:
    """One message of a resent history, put into the form in which it was recorded; empty when nothing in it can be read."""
    if role != "user":
        return without_controls(text).strip()
    try:
        return cleaned(text, limit=len(text))
    except BadInput:
        return ""


def plain_id(value: str) -> str:
    """An id that can exist. Raises NotFound for one that cannot, exactly as for one that does not."""
    if not _ID.fullmatch(value):
        raise NotFound(NOWHERE)
    return value


def retry_key(value: str | None) -> str | None:
    """The Idempotency-Key header. Raises BadInput unless it is 1 to 200 visible ASCII characters."""
    if value is not None and not _PRINTABLE.fullmatch(value):
        raise BadInput("Idempotency-Key must be 1 to 200 visible ASCII characters.")
    return value
