"""The process that does one run: `python -m frontdesk.training.worker FOLDER`. Reads the folder, beats while it works, leaves a report.

Exit status 0: done; 75: stopped as asked, with a checkpoint; 2: refused; anything else: crashed. It stops by itself, with a checkpoint,
when the process that started it is gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frontdesk import settings as configuration
from frontdesk.errors import BadInput, FrontdeskError
from frontdesk.training.runfile import RunFile
from frontdesk.training.runs import Place, beat, write_beat

STOPPED = 75
Recipe = Callable[["Desk"], str]


class Desk:
    """What a recipe works with: the run, its folder, a way to beat and to hear that it shall stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run: RunFile = Place(folder).run
        self.settings = configuration.load()
        self._parent = os.getppid()
        self._last = 0.0
        self._shown: dict[str, Any] = {}

    def beat(self, phase: str, **values: Any) -> None:
        """Say what is being done; at most ten times a second."""
        self._shown.update(values, phase=phase)
        if time.monotonic() - self._last > 0.1 or not values:
            write_beat(self.folder, at=time.time(), **self._shown)
            self._last = time.monotonic()

    def say(self, text: str) -> None:
        """A phase, in the beat and in the log."""
        self.beat(text)
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def stop(self) -> bool:
        """Whether somebody asked to stop, or the supervisor is gone."""
        return (self.folder / "stop").exists() or os.getppid() != self._parent


class Stopped(Exception):
    """The run was stopped as asked; its checkpoint is written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the run of a folder."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) != 1:
        sys.stderr.write("usage: python -m frontdesk.training.worker FOLDER\n")
        return 2
    configuration.refuse_telemetry()
    try:
        desk = Desk(Path(given[0]))
        desk.beat("starting")
        asyncio.run(_recipe(desk))
    except Stopped:
        return STOPPED
    except FrontdeskError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


async def _recipe(desk: Desk) -> None:
    if desk.run.recipe in ("faq", "dialogue"):
        from frontdesk.training.tuning import tune

        await tune(desk)
    elif desk.run.recipe == "intent":
        from frontdesk.training.classifying import learn_intents

        await learn_intents(desk)
    elif desk.run.recipe == "embedding":
        from frontdesk.training.embedding import learn_embedding

        await learn_embedding(desk)
    else:
        raise BadInput(f"the recipe {desk.run.recipe} has commands of its own: see `frontdesk train --help`")


__all__ = ["Desk", "Stopped", "beat", "main"]

if __name__ == "__main__":
    raise SystemExit(main())
