"""The invented businesses of `selection_set/`: their operations and what customers write, from which the encoder learns what is meant.

What the choice is measured with lies in `tests/tools` and is never learnt from. Refuses nothing and is not used while the desk runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from frontdesk.tools.operation import Argument, Effect, Operation, Place


def businesses(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """All businesses of a folder (`selection_set`), by name: their `operations` (see `operations`) and their `questions` by operation.

    Questions under None are about no operation.
    """
    place = folder if folder is not None else resources.files(__package__) / "selection_set"
    files = sorted((f for f in place.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        found |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def operations(rows: Sequence[Sequence[Any]]) -> list[Operation]:
    """The operations of one business, from `[method, name, summary, description, arguments, fields of the answer]`.

    `post!` asks for a yes and belongs to the signed-in customer; so does what its description says of "the signed-in" one.
    """
    found = []
    for method, name, summary, description, listed, *answered in rows:
        arguments = [
            Argument(name=n, where=Place.QUERY, required=True, schema={"type": "string", **schema})
            for a in listed
            for n, schema in a.items()
        ]
        if "signed-in" in description or method.endswith("!"):
            arguments.append(Argument(name="customer", where=Place.HEADER, required=True, schema={"type": "string"}, bound="customer.id"))
        effect = Effect.READ if method == "get" else Effect.WRITE
        response: dict[str, Any] = {"properties": {field: {} for field in answered[0].split()}} if answered else {}
        found.append(
            Operation(name=name, summary=summary, description=description, effect=effect, arguments=tuple(arguments), response=response)
        )
    return found
