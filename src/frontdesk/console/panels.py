"""Panels of one's own: Python files in a folder, one function each. Refuses a file that cannot be loaded, by name and reason.

A panel runs in the server's process with the rights of the program: only its administrator chooses the folder.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontdesk.console.frame import content
from frontdesk.errors import BadInput, NotFound

if TYPE_CHECKING:
    from frontdesk.console.visiting import Visit

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. `draw` is its function `panel(visit)`; `lead` the first line of the file's docstring."""

    name: str
    title: str
    icon: str
    lead: str
    draw: Callable[[Any], Awaitable[None]]


def load_panels(named: str) -> list[Panel]:
    """The panels of a folder, by file name; none without a folder. Raises BadInput."""
    if not named:
        return []
    folder = Path(named)
    if not folder.is_dir():
        raise BadInput(f"FRONTDESK_PANELS names {folder}, which is no folder: make it, or unset the variable")
    return [_load(file) for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]


def _load(file: Path) -> Panel:
    if not _NAME.fullmatch(file.stem):
        raise BadInput(f"the panel {file} needs a name of small letters, digits, - and _: rename the file")
    spec = importlib.util.spec_from_file_location(f"frontdesk_panels.{file.stem}", file)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - a .py file has both
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as why:
        # Foreign code: whatever it raises is about that file.
        raise BadInput(f"the panel {file} cannot be loaded ({type(why).__name__}: {why}): correct it, or move it away") from why
    draw = getattr(module, "panel", None)
    if not inspect.iscoroutinefunction(draw):
        raise BadInput(f"the panel {file} has no `async def panel(visit)`: add it, see docs/how-to/add-a-panel.md")
    title = str(getattr(module, "TITLE", file.stem.replace("_", " ").replace("-", " ").capitalize()))
    lead = (module.__doc__ or "").strip().split("\n", 1)[0]
    return Panel(name=file.stem, title=title, icon=str(getattr(module, "ICON", "dashboard_customize")), lead=lead, draw=draw)


async def panel_page(visit: Visit, name: str) -> None:
    """The page of one panel."""
    panel = next((p for p in visit.console.panels if p.name == name), None)
    if panel is None:
        raise NotFound(f"there is no panel {name!r}: FRONTDESK_PANELS names the folder they are in")
    with content(panel.title, panel.lead):
        pass
    await panel.draw(visit)
