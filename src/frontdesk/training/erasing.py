"""Erased conversations leave the data of training runs. Needs neither torch nor the database."""

from __future__ import annotations

from pathlib import Path

from frontdesk.training import shards


def forget(data: Path, conversation: str) -> dict[str, int]:
    """Take a conversation out of the data of every run below `data/runs`; run -> examples that went."""
    found = {}
    runs = data / "runs"
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        if (folder / "data" / "index.json").is_file() and (count := shards.forget(folder / "data", f"conversation:{conversation}")):
            found[folder.name] = count
    return found
