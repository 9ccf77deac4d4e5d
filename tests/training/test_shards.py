"""Data as plain files: the same order everywhere, from any place in an epoch, within a cache's limit."""

import itertools
import json
from pathlib import Path

import pytest

from frontdesk.errors import BadInput, FrontdeskError
from frontdesk.training import shards
from frontdesk.training.shards import Shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shards.write(({"n": n, "origin": f"conversation:{n % 5}"} for n in range(103)), tmp_path / "set", per_shard=10)


def test_every_row_comes_once_per_epoch_and_epochs_differ(folder: Path, tmp_path: Path) -> None:
    data = Shards(str(folder), cache=tmp_path / "cache")
    first, second = ([row["n"] for row in data.epoch(e)] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(103))
    assert first != second
    assert len(data) == 103


def test_the_order_follows_from_seed_and_epoch_alone(folder: Path, tmp_path: Path) -> None:
    one, two, other = (Shards(str(folder), cache=tmp_path / c, seed=s) for c, s in (("a", 1), ("b", 1), ("c", 2)))
    assert list(one.epoch(3)) == list(two.epoch(3))
    assert list(one.epoch(3)) != list(other.epoch(3))


@pytest.mark.parametrize("start", [0, 1, 9, 10, 57, 102, 103])
def test_reading_goes_on_in_the_middle_of_an_epoch(folder: Path, tmp_path: Path, start: int) -> None:
    data = Shards(str(folder), cache=tmp_path / "cache")
    assert list(data.epoch(2, start=start)) == list(itertools.islice(data.epoch(2), start, None))


def test_a_url_is_read_through_a_cache_that_stays_within_its_limit(folder: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/set", recursive=True)
    cache = tmp_path / "cache"
    size = (folder / "shard-00000.jsonl").stat().st_size
    data = Shards("memory://bucket/set", cache=cache, cache_bytes=3 * size + 20)
    assert sorted(row["n"] for row in data.epoch(0)) == list(range(103))
    kept = list(cache.rglob("*.jsonl"))
    assert 1 <= len(kept) <= 3
    assert sum(p.stat().st_size for p in kept) <= 3 * size + 20


def test_a_bucket_that_cannot_be_reached_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(FrontdeskError, match="s3://nowhere/set"):
        Shards("s3://nowhere/set", cache=tmp_path)


def test_a_folder_without_an_index_and_a_changed_shard_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="give a folder that holds an index"):
        Shards(str(tmp_path), cache=tmp_path)
    (folder / "shard-00003.jsonl").write_text('{"n": 1}\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"shard-00003\.jsonl does not match the digest"):
        list(Shards(str(folder), cache=tmp_path).epoch(0))


def test_an_index_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"version": 2, "shards": [{"basename": "x"}]}), encoding="utf-8")
    with pytest.raises(BadInput, match="is not an index of shards"):
        Shards(str(tmp_path), cache=tmp_path)


def test_an_erased_conversation_leaves_the_data_set(folder: Path, tmp_path: Path) -> None:
    assert shards.forget(folder, "conversation:2") == 21
    rows = list(Shards(str(folder), cache=tmp_path).rows())
    assert len(rows) == 82
    assert not any(row["origin"] == "conversation:2" for row in rows)
    assert shards.forget(folder, "conversation:2") == 0


def test_a_data_set_is_not_written_over_another(folder: Path) -> None:
    with pytest.raises(BadInput, match="holds a data set already"):
        shards.write([], folder)
