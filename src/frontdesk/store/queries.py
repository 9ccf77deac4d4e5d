"""Named SQL from the files beside this module. A file is a list of `-- name: xyz` headings, each followed by one statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import LiteralString, cast

_HEADING = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


@cache
def load(name: str) -> Mapping[str, LiteralString]:
    """The statements of `queries/<name>.sql` by their name."""
    parts = _HEADING.split((resources.files(__package__) / "queries" / f"{name}.sql").read_text("utf-8"))
    # Files of this package are as trusted as its code: what psycopg calls a literal.
    return {heading: cast("LiteralString", body.strip().rstrip(";")) for heading, body in zip(parts[1::2], parts[2::2], strict=True)}
