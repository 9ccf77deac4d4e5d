"""Training data as plain files anywhere: JSON lines in shards beside an index. Streamed, in an order that follows from (seed, epoch) alone.

    index.json            {"format": 1, "rows": N, "shards": [{"file", "rows", "bytes", "sha256"}, …]}
    shard-00000.jsonl     one example per line

A shard is fetched when its turn comes, checked against its digest, kept in a cache of limited size and shuffled within. So a reader can
start anywhere in an epoch without reading what lies before. No shared memory and no lock files: two readers never meet.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frontdesk.errors import BadInput, TrainingFailed, Unavailable

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of rows."""

    file: str
    rows: int
    bytes: int
    sha256: str


def write(rows: Iterable[Row], folder: Path, *, per_shard: int = 2000) -> Path:
    """Write rows as shards into a new or empty folder; the index comes last, so a folder with an index is whole.

    Raises BadInput for a folder that holds shards already, TrainingFailed when the disk does not take them.
    """
    if (folder / "index.json").exists():
        raise BadInput(f"{folder} holds a data set already: give another folder or delete it")
    shards = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(_parts(rows, per_shard)):
            body = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in part).encode()
            name = f"shard-{number:05d}.jsonl"
            (folder / name).write_bytes(body)
            shards.append({"file": name, "rows": len(part), "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})
        index = {"format": 1, "rows": sum(int(str(s["rows"])) for s in shards), "shards": shards}
        part_file = folder / "index.json.part"
        part_file.write_text(json.dumps(index, indent=1), encoding="utf-8")
        part_file.rename(folder / "index.json")
    except OSError as error:
        raise TrainingFailed(f"the data set cannot be written to {folder} ({error.strerror or error}): free some space there") from error
    return folder


def forget(folder: Path, origin: str) -> int:
    """Take every row of one origin (an erased conversation) out of a local data set; how many there were."""
    index = _index((folder / "index.json").read_bytes(), str(folder))
    rows, gone = [], 0
    for shard in index:
        for line in (folder / shard.file).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            gone += row.get("origin") == origin
            if row.get("origin") != origin:
                rows.append(row)
    if gone:
        fresh = folder.with_name(folder.name + ".part")
        shutil.rmtree(fresh, ignore_errors=True)
        write(rows, fresh, per_shard=max(s.rows for s in index))
        shutil.rmtree(folder)
        fresh.rename(folder)
    return gone


class Shards:
    """A data set that is read shard by shard, from a folder, `file://…` or any URL that fsspec knows (`s3://bucket/path`)."""

    def __init__(self, url: str, *, cache: Path, cache_bytes: int = 2 * 2**30, seed: int = 0) -> None:
        """Reads the index. Raises BadInput for what is no data set, Unavailable when it cannot be reached."""
        self._place = _Place(url)
        self._cache = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
        self._limit = cache_bytes
        self._seed = seed
        self._shards = _index(self._place.read("index.json"), url)

    def __len__(self) -> int:
        return sum(s.rows for s in self._shards)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[dict[str, Any]]:
        """The rows of one epoch from the `start`-th on; the same arguments give the same rows, on every machine."""
        order = list(self._shards)
        random.Random(f"{self._seed}/{epoch}").shuffle(order)  # noqa: S311 - an order of rows
        passed = 0
        for shard in order:
            if passed + shard.rows <= start:
                passed += shard.rows
                continue
            lines = self._lines(shard)
            random.Random(f"{self._seed}/{epoch}/{shard.file}").shuffle(lines)  # noqa: S311
            for line in lines[max(0, start - passed) :]:
                yield json.loads(line)
            passed += shard.rows

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row once, as written."""
        for shard in self._shards:
            for line in self._lines(shard):
                yield json.loads(line)

    def _lines(self, shard: Shard) -> list[str]:
        if self._place.local is not None:
            body = self._place.read(shard.file)
            _verify(shard, body)
            return body.decode().splitlines()
        kept = self._cache / shard.file
        if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == shard.sha256:
            kept.touch()
            return kept.read_text(encoding="utf-8").splitlines()
        body = self._place.read(shard.file)
        _verify(shard, body)
        self._keep(kept, body)
        return body.decode().splitlines()

    def _keep(self, place: Path, body: bytes) -> None:
        """Into the cache; what was used longest ago makes room. A shard that would not fit alone is not kept."""
        if len(body) > self._limit:
            return
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            kept = sorted((p for p in place.parent.iterdir() if p.is_file() and p != place), key=lambda p: p.stat().st_mtime)
            used = sum(p.stat().st_size for p in kept)
            while kept and used + len(body) > self._limit:
                used -= kept[0].stat().st_size
                kept.pop(0).unlink(missing_ok=True)
            part = place.with_suffix(".part")
            part.write_bytes(body)
            part.rename(place)
        except OSError as error:
            raise TrainingFailed(
                f"the cache {place.parent} cannot be written ({error.strerror or error}): free some space there"
            ) from error


class _Place:
    """A folder, here or in a bucket."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.url = url.rstrip("/")
        self.local = Path(rest if scheme == "file" else url) if not rest or scheme == "file" else None

    def read(self, name: str) -> bytes:
        """One file. Raises BadInput or Unavailable."""
        if self.local is not None:
            try:
                return (self.local / name).read_bytes()
            except OSError as error:
                raise BadInput(
                    f"{self.local / name} cannot be read ({error.strerror}): give a folder that holds an index.json and its shards"
                ) from None
        try:
            import fsspec  # type: ignore[import-untyped]
        except ImportError:
            raise BadInput(
                f"{self.url} needs fsspec and its package for that scheme: install `frontdesk[train]`, or copy the data here"
            ) from None
        try:
            with fsspec.open(f"{self.url}/{name}", "rb") as file:
                body: bytes = file.read()
                return body
        except FileNotFoundError:
            raise BadInput(f"{self.url} holds no {name}: give a place that holds an index.json and its shards") from None
        except (ImportError, ValueError) as error:
            raise BadInput(f"{self.url} cannot be opened ({error}): install the package for that scheme, or copy the data here") from None
        except Exception as error:  # each store raises its own; all of them mean the same to whoever starts a run
            raise Unavailable(
                f"{self.url} cannot be reached ({type(error).__name__}: {error}): check address, network and credentials"
            ) from error


def _index(body: bytes, url: str) -> Sequence[Shard]:
    try:
        told = json.loads(body)
        shards = [Shard(**row) for row in told["shards"]]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{url}/index.json is not an index of shards: write the data set with `frontdesk train data`") from None
    if told.get("format") != 1:
        raise BadInput(f"{url}/index.json has format {told.get('format')!r}, this program reads 1: write the data set again")
    return shards


def _verify(shard: Shard, body: bytes) -> None:
    if hashlib.sha256(body).hexdigest() != shard.sha256:
        raise BadInput(f"{shard.file} does not match the digest in its index.json: copy or write the data set again")


def _parts(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    part: list[Row] = []
    for row in rows:
        part.append(row)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
