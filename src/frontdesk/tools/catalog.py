"""A tenant's operations: read from its OpenAPI documents, with the built-in ones beside them. Refuses two operations of one name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from frontdesk.domain.tenancy import Tenant, ToolSource
from frontdesk.errors import BadToolSpec
from frontdesk.settings import expand
from frontdesk.tools.openapi import operations_of
from frontdesk.tools.operation import Argument, Effect, Operation, Place, Server, words_of

MAX_DOCUMENT_BYTES = 5_000_000
SHORTEST_SECRET = 6
"""Shorter environment values are no secrets, and blanking them would blank words."""

__all__ = ["Argument", "Catalog", "Effect", "Operation", "Place", "Server", "load_catalog", "read_document", "words_of"]


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """What one tenant offers. `disabled`: why its tools are off, as a plain sentence; empty when they work."""

    operations: tuple[Operation, ...] = ()
    disabled: str = ""

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def get(self, name: str) -> Operation | None:
        """The operation of that name, usable or not."""
        return next((o for o in self.operations if o.name == name), None)

    @property
    def usable(self) -> tuple[Operation, ...]:
        """Operations that may be called now: all, or only the built-in ones while the tenant's tools are off."""
        return tuple(o for o in self.operations if o.run is not None or not self.disabled)

    @property
    def identifying(self) -> tuple[Operation, ...]:
        """Operations whose answer says who the customer is."""
        return tuple(o for o in self.usable if o.identifies)

    def beside(self, builtin: Sequence[Operation]) -> Catalog:
        """This catalog with built-in operations added. A tenant's own operation of the same name wins."""
        taken = {o.name for o in self.operations}
        return replace(self, operations=self.operations + tuple(b for b in builtin if b.name not in taken))


def load_catalog(tenant: Tenant, environ: Mapping[str, str] | None = None) -> Catalog:
    """All operations of a tenant's documents, in their order.

    Raises BadToolSpec with file, JSON path and remedy. An unset `${VAR}` is no error: the catalog says so in `disabled`.
    """
    operations: list[Operation] = []
    missing: list[str] = []
    for source in tenant.tools:
        text = _read(tenant.folder or Path(), source.openapi)
        found, unset = read_document(text, source=source, environ=environ)
        for operation in found:
            if any(o.name == operation.name for o in operations):
                raise BadToolSpec(
                    f"{source.openapi}: operationId {operation.name!r} is taken by another operation of this tenant: rename one of the two"
                )
            operations.append(operation)
        missing += [name for name in unset if name not in missing]
    return Catalog(operations=tuple(operations), disabled=_disabled(missing))


def read_document(text: str, *, source: ToolSource, environ: Mapping[str, str] | None = None) -> tuple[list[Operation], list[str]]:
    """The operations of one document, and the names of environment variables it needs that are not set. Raises BadToolSpec."""
    texts = {"": source.server, **source.headers}
    filled = {name: expand(text, environ) for name, text in texts.items()}
    missing = list(dict.fromkeys(name for _, unset in filled.values() for name in unset))
    variables = {f"${{{name}}}" for text in texts.values() for name in re.findall(r"\$\{(\w+)\}", text)}
    server = Server(
        url=filled[""][0],
        headers={name: value for name, (value, _) in filled.items() if name},
        secrets=tuple(sorted(value for v in variables if len(value := expand(v, environ)[0]) >= SHORTEST_SECRET)),
    )
    return operations_of(text, file=source.openapi, server=server, bind=source.bind), missing


def _disabled(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    names = " and ".join(missing)
    verb = "is" if len(missing) == 1 else "are"
    return f"The tools of this tenant are off, because the environment variable {names} {verb} not set."


def _read(folder: Path, name: str) -> str:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadToolSpec(f"{name}: lies outside the tenant's folder: move it inside")
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise BadToolSpec(f"{name}: is larger than {MAX_DOCUMENT_BYTES // 1_000_000} MB: give only the operations the desk needs")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadToolSpec(f"{name}: cannot be read ({error.strerror}): correct `openapi:` in tenant.yaml") from None
    except UnicodeDecodeError:
        raise BadToolSpec(f"{name}: is not UTF-8 text: save it as UTF-8") from None
