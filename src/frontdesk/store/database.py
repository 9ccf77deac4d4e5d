"""Connections to PostgreSQL: one transaction per call, the tenant set inside it, foreign errors translated once. Knows no table.

A call is one network round trip: the tenant and the statements travel as one pipeline, which PostgreSQL runs as one transaction.
A caller that is cancelled leaves at once; what it asked is still run to its end, since a connection cut off in the middle of a pipeline
no longer knows which statements the server has prepared.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format
from psycopg.rows import namedtuple_row
from psycopg.types.json import set_json_loads
from psycopg.types.string import StrDumper
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput, Conflict, StoreUnavailable

logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # its warnings repeat what StoreUnavailable says

Connection = AsyncConnection[Any]
Vector = NDArray[np.float32]
Parameters = Mapping[str, Any]
Step = tuple[LiteralString, Parameters]

SCHEMA = "frontdesk"
APP_ROLE = "frontdesk_app"
TAIL_ROLE = "frontdesk_tail"
ACQUIRE_SECONDS = 5.0
_JSON = json.JSONDecoder()
_ENTER: LiteralString = "select set_config('frontdesk.tenant', %(tenant)s, true)"


@dataclass(frozen=True, slots=True)
class HalfVector:
    """A vector on its way into a `halfvec` parameter (16-bit floats)."""

    values: Vector


class _HalfVectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: HalfVector) -> Buffer:
        values = np.asarray(obj.values, dtype=">f2").reshape(-1)
        return struct.pack(">HH", values.size, 0) + values.tobytes()


class _CleanStrDumper(StrDumper):
    """Text that PostgreSQL cannot hold (NUL, lone surrogates) becomes U+FFFD at the border: customers may type anything."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(clean(obj))


def clean(text: str) -> str:
    """`text` with NUL and lone surrogates replaced by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_json(value: Any) -> Any:
    """Plain JSON values with `clean` applied to every string in them."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean_json(k): clean_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_json(v) for v in value]
    return value


def json_text(value: Any) -> str:
    """JSON text of plain values that PostgreSQL can hold: what is no character becomes U+FFFD. Values of other types become text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if "\\u0000" in text:  # rare, so only then every string is looked at
        text = json.dumps(clean_json(value), ensure_ascii=False, separators=(",", ":"), default=str)
    return clean(text)


def vector_from(data: bytes) -> Vector:
    """The vector that `halfvec_send` wrote."""
    return np.frombuffer(data, dtype=">f2", offset=4).astype(np.float32)


def adapt(connection: psycopg.AsyncConnection[Any]) -> None:
    """Teach a connection our types."""
    set_json_loads(_read_json, connection)
    connection.adapters.register_dumper(HalfVector, _HalfVectorDumper)
    connection.adapters.register_dumper(str, _CleanStrDumper)


def _read_json(data: str | bytes) -> Any:
    # What PostgreSQL sends is UTF-8 without leading space: `json.loads` would spend half its time on finding that out, for every event.
    return _JSON.raw_decode(str(data, "utf-8") if isinstance(data, bytes) else data)[0]


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Foreign errors become ours, here and nowhere else."""
    try:
        yield
    except (psycopg.errors.DiskFull, psycopg.errors.IoError) as error:
        raise StoreUnavailable("the disk that holds the database is full or failing: free some space, nothing was written") from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise StoreUnavailable("the database only accepts reads at the moment: connect to its primary server") from error
    except psycopg.errors.QueryCanceled as error:
        raise StoreUnavailable("the database took too long to answer: try again, and look at its load if it stays so") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreUnavailable(
            f"the database refused: {_first_line(error)}; let the user of FRONTDESK_DATABASE_URL own the schema frontdesk"
        ) from error
    except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected) as error:
        raise Conflict("two changes met in the database: try again") from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction):
        raise  # a mistake of ours, to be seen as one
    except psycopg.errors.RaiseException as error:
        raise BadInput(_first_line(error)) from error
    except psycopg.DataError as error:
        raise BadInput(f"the database cannot hold this value: {_first_line(error)}") from error
    except (PoolTimeout, PoolClosed, TooManyRequests) as error:
        raise StoreUnavailable("the database cannot be reached or is overloaded: it is tried again by itself") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable(f"the database cannot be reached ({_first_line(error)}): it is tried again by itself") from error


class Database:
    """A pool of connections in the application role."""

    def __init__(self, url: str, *, role: str | None = None, size: int = 16, idle: int = 2) -> None:
        """`role`: taken on after connecting; None when the URL's own user is that role already. `idle` connections stay open."""
        self._role = role
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=AsyncConnection[Any],
            kwargs={"autocommit": True, "row_factory": namedtuple_row, "connect_timeout": 5},
            configure=self._configure,
            min_size=idle,
            max_size=size,
            timeout=ACQUIRE_SECONDS,
            reconnect_timeout=5.0,
            open=False,
        )
        self._running: set[asyncio.Task[list[list[Any]]]] = set()

    async def open(self) -> None:
        """Connect. Raises StoreUnavailable."""
        with translated():
            await self._pool.open(wait=True, timeout=15.0)

    async def close(self) -> None:
        """Close every connection, when what is under way has had its moment to end."""
        if self._running:
            await asyncio.wait(self._running, timeout=2.0)
        await self._pool.close(timeout=2.0)

    async def renew(self) -> None:
        """Replace every connection, after the server was restarted."""
        await self._pool.drain()

    async def run(self, tenant: TenantId, *steps: Step, after: Step | None = None) -> list[list[Any]]:
        """Run `steps` as one transaction of `tenant` in one round trip; the rows of each. `after` runs once it is committed.

        Cancelled, it returns at once, and whether a change is made is unknown: the steps still run.
        Raises StoreUnavailable when the database is away; whether a change was made is then unknown too. Raises what `translated` says.
        """
        running = asyncio.create_task(self._run(tenant, steps, after))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)

    async def _run(self, tenant: TenantId, steps: Sequence[Step], after: Step | None) -> list[list[Any]]:
        with translated():
            async with self._pool.connection() as connection:
                return await self._pipeline(connection, tenant, steps, after)

    async def read(self, tenant: TenantId, *steps: Step) -> list[list[Any]]:
        """Like `run` for statements that change nothing: tried once more when a connection turns out to be dead."""
        try:
            return await self.run(tenant, *steps)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, psycopg.OperationalError) or isinstance(error.__cause__, psycopg.errors.QueryCanceled):
                raise
            return await self.run(tenant, *steps)

    @contextlib.asynccontextmanager
    async def transaction(self, tenant: TenantId) -> AsyncIterator[Connection]:
        """A longer transaction of `tenant`, for what needs answers in between."""
        with translated():
            async with self._pool.connection() as connection:
                try:
                    async with connection.transaction():
                        await connection.execute(_ENTER, {"tenant": tenant})
                        yield connection
                except asyncio.CancelledError:
                    await connection.close()
                    raise

    async def _configure(self, connection: Connection) -> None:
        adapt(connection)
        await enter(connection, self._role)

    async def _pipeline(self, connection: Connection, tenant: TenantId, steps: Sequence[Step], after: Step | None) -> list[list[Any]]:
        cursors = [connection.cursor() for _ in steps]
        try:
            # What travels up to a synchronisation point is one transaction, committed there, without a `begin` of its own.
            async with connection.pipeline() as pipeline:
                await connection.execute(_ENTER, {"tenant": tenant})
                for cursor, (sql, parameters) in zip(cursors, steps, strict=True):
                    await cursor.execute(sql, parameters)
                if after is not None:
                    await pipeline.sync()
                    await connection.execute(*after)
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]
        except BaseException:
            # What stood behind the statement that failed was skipped by the server, while the connection may believe it prepared: every
            # later use of such a statement would fail. The pool opens another connection.
            await connection.close()
            raise


async def enter(connection: psycopg.AsyncConnection[Any], role: str | None) -> None:
    """Session settings of every connection of ours."""
    steps = [f"set search_path = {SCHEMA}, public", "set statement_timeout = '30s'", "set lock_timeout = '10s'", "set jit = off"]
    steps += ["set idle_in_transaction_session_timeout = '60s'", "set timezone = 'UTC'"]
    if role is not None:
        steps.append(f"set role {role}")
    await connection.execute("; ".join(steps).encode())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
