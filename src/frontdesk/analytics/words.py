"""Things said in so many words, from `words.yaml`: solved, a promise, an apology. Matches; understands nothing."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import yaml

READ = 4000
"""Characters of a text that are looked at."""


@cache
def patterns(kind: str) -> re.Pattern[str]:
    """All expressions of one kind as one pattern."""
    return re.compile("|".join(f"(?:{p})" for p in _all()[kind]), re.IGNORECASE)


def says(kind: str, text: str) -> str:
    """What in `text` says so, word for word; empty when nothing does."""
    found = patterns(kind).search(text[:READ].replace("’", "'"))
    return found[0] if found else ""


@cache
def _all() -> dict[str, list[str]]:
    return dict(yaml.safe_load((resources.files(__package__) / "words.yaml").read_text("utf-8")))
