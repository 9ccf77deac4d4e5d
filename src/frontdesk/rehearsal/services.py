"""The four stream services over Kafka, through Quix Streams: customer, agent, sentiment, sink. The only module that names a broker.

Delivery is at least once; what comes twice is counted once (see `streaming`). State lives in Quix state, JSON with a changelog topic, so any
replica goes on where a killed one stopped. A broker that goes away is waited for. Refuses to start without a broker, or under the name of a
consumer group that somebody else uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from quixstreams import Application
from quixstreams.exceptions import QuixException
from quixstreams.models import TopicConfig
from quixstreams.sinks import BatchingSink, SinkBatch

from frontdesk.errors import BadInput, Unavailable
from frontdesk.rehearsal.streaming import (
    DEAD,
    DEAD_LETTER,
    LARGEST,
    MESSAGES,
    TONED,
    AgentService,
    CustomerService,
    Message,
    SentimentService,
    read,
)

if TYPE_CHECKING:
    from frontdesk.rehearsal.recording import Recorder

CUSTOMER, AGENT, SENTIMENT, SINK = SERVICES = ("customer", "agent", "sentiment", "sink")
PARTITIONS = 6
"""Of each topic that is made here: as many replicas of a service can share the work."""
SESSION_MS = 6000
"""After so long without a heartbeat a replica counts as dead and others take over."""
RECONNECT_MS = 1000
"""Longest pause between two looks for a broker that is away. The client's own ten seconds would count against catching up."""
COMMIT_SECONDS = 0.5
POLL_MS = 600_000  # a turn may be tried three times, 90 s each
ASK_SECONDS = 10.0
PATIENT_SECONDS = 30.0
"""How long a broker that is there may take to say who reads."""
AWAY_SECONDS = 600.0
"""How long a running service waits for a broker that went away."""
log = logging.getLogger("frontdesk.rehearsal")


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where Kafka is, and what everything of this rehearsal is called there. `prefix` keeps several apart on one broker."""

    address: str
    prefix: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    wait: float = ASK_SECONDS

    def name(self, of: str) -> str:
        """A topic's or a group's name."""
        return f"{self.prefix}{of}"

    def group(self, service: str) -> str:
        """The consumer group that all replicas of a service share."""
        return self.name(f"frontdesk-{service}")

    def admin(self) -> AdminClient:
        """A client for looking and for making topics."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0, **self.extra}, logger=_quiet())

    def prepare(self) -> None:
        """Make the topics that are missing. Raises Unavailable when no broker answers, BadInput for an address that is none."""
        if ":" not in self.address:
            raise BadInput(f"--broker must be HOST:PORT, not {self.address!r}")
        admin = self.admin()
        try:
            known = admin.list_topics(timeout=self.wait)
            copies = min(3, max(1, len(known.brokers)))
            wanted = [NewTopic(self.name(t), PARTITIONS, copies) for t in (MESSAGES, TONED, DEAD) if self.name(t) not in known.topics]
            for made in admin.create_topics(wanted).values() if wanted else ():
                with contextlib.suppress(KafkaException):  # another service made it in between
                    made.result(timeout=ASK_SECONDS)
        except KafkaException:
            raise Unavailable(
                f"no Kafka broker answers at {self.address}: start one (scripts/kafka_local.sh start), or correct the address"
            ) from None

    def members(self, service: str) -> int:
        """How many replicas of a service run. Raises BadInput when its group belongs to somebody else."""
        group = self.group(service)
        admin, until = self.admin(), time.monotonic() + PATIENT_SECONDS  # kept: its answers come only while it lives
        while True:
            try:
                found = admin.describe_consumer_groups([group], request_timeout=ASK_SECONDS)[group].result(timeout=2 * ASK_SECONDS)
                break
            except KafkaException as why:
                if "GROUP_ID_NOT_FOUND" in str(why):
                    return 0
                starting = "COORDINATOR" in str(why) or "_TIMED_OUT" in str(why)  # a broker that has just started, or has much to do
                if not starting or time.monotonic() > until:
                    raise Unavailable(f"the broker at {self.address} does not say who reads: {why}") from None
            time.sleep(0.5)
        if strangers := sorted({m.client_id for m in found.members if not m.client_id.startswith("frontdesk-")}):
            raise BadInput(f"consumer group {group} is in use by {', '.join(strangers)}: stop it there, or give another --prefix")
        return len(found.members)

    def missing(self, services: Sequence[str] = SERVICES) -> list[str]:
        """Services of which no replica runs."""
        return [s for s in services if not self.members(s)]


def publish(broker: Broker, messages: Iterable[Message]) -> int:
    """Put messages on the stream and return how many, once the broker has them all. Raises Unavailable."""
    app = Application(
        broker_address=broker.address, consumer_group=broker.group("starter"), loglevel="ERROR", broker_availability_timeout=0,
        producer_extra_config={"log_level": 0, **broker.extra},
    )  # fmt: skip
    topic = app.topic(broker.name(MESSAGES), value_serializer="json", key_serializer="str")
    count = 0
    with app.get_producer() as producer:
        for message in messages:
            count += 1
            made = topic.serialize(key=message["conversation"], value=message)
            producer.produce(topic=topic.name, key=made.key, value=made.value)
        if producer.flush(60.0):
            raise Unavailable(f"the broker at {broker.address} took not all conversations within a minute: run it again with --resume")
    return count


def serve(broker: Broker, service: str, build: Callable[[Application], None], *, data: Path, away: float = AWAY_SECONDS) -> None:
    """Run one replica of a service until it is told to stop. `build` lays its pipeline. Raises Unavailable when the broker stays away."""
    broker.prepare()
    broker.members(service)
    data.mkdir(parents=True, exist_ok=True)
    while True:
        # State on disk is a copy of the changelog; each replica has its own, for none may wait for another's lock.
        state = Path(tempfile.mkdtemp(prefix=f"{service}-", dir=data))
        try:
            app = _application(broker, service, state)
            build(app)
            app.run()
        except (KafkaException, QuixException) as why:
            log.warning("the %s service lost its broker and waits for it: %s", service, why)
            _await(broker, away)
        else:
            return
        finally:
            shutil.rmtree(state, ignore_errors=True)


def _await(broker: Broker, seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        time.sleep(1.0)
        try:
            broker.prepare()
        except Unavailable:
            if time.monotonic() > until:
                raise
        else:
            return


def _application(broker: Broker, service: str, state: Path) -> Application:
    client = {"client.id": f"frontdesk-{service}", "reconnect.backoff.max.ms": RECONNECT_MS, **broker.extra}
    return Application(
        broker_address=broker.address,
        consumer_group=broker.group(service),
        auto_offset_reset="earliest",
        commit_interval=COMMIT_SECONDS,
        processing_guarantee="at-least-once",
        state_dir=state,
        loglevel="WARNING",
        consumer_poll_timeout=0.1,
        broker_availability_timeout=0,
        consumer_extra_config={
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": SESSION_MS // 4,
            "max.poll.interval.ms": POLL_MS,
            "fetch.wait.max.ms": 20,
            "topic.metadata.refresh.interval.ms": 5000,
            **client,
        },
        producer_extra_config={"linger.ms": 2, "message.max.bytes": 2 * LARGEST, **client},
    )


def talking(broker: Broker, service: CustomerService | AgentService) -> Callable[[Application], None]:
    """The pipeline of a side: its answers go back to the topic that both sides read, the unreadable to the dead letters.

    Both sides read everything; foreign messages are reported by the customer's side alone, so that each has one letter.
    """
    reports = isinstance(service, CustomerService)

    def build(app: Application) -> None:
        topic, letters = _topic(app, broker, MESSAGES), _topic(app, broker, DEAD)
        read_in = app.dataframe(topic).apply(_read, metadata=True)
        if reports:
            read_in.filter(_is_dead).apply(_placed).to_topic(letters, key=_no_key)
        made = read_in.filter(_is_alive).apply(service.step, stateful=True, expand=True)
        made.filter(_is_dead).apply(_placed).to_topic(letters, key=_no_key)
        made.filter(_is_alive).to_topic(topic)

    return build


def toning(broker: Broker, service: SentimentService) -> Callable[[Application], None]:
    """The pipeline that adds how each message sounds."""

    def build(app: Application) -> None:
        messages = app.dataframe(_topic(app, broker, MESSAGES)).apply(_read, metadata=True).filter(_is_alive)
        messages.apply(service.step, stateful=True).to_topic(_topic(app, broker, TONED))

    return build


def sinking(broker: Broker, recorder: Recorder, run: Callable[[Any], Any], others: Sequence[Any] = ()) -> Callable[[Application], None]:
    """The pipeline that ends in the database, and in Quix's own sinks where they are wanted."""

    def build(app: Application) -> None:
        read_in = app.dataframe(_topic(app, broker, TONED)).apply(_read, metadata=True)
        letters = _topic(app, broker, DEAD)
        read_in.filter(_is_dead).apply(_placed).to_topic(letters, key=_no_key)
        messages = read_in.filter(_is_alive)
        for other in others:
            messages.filter(_has_words).apply(flat).sink(other)
        messages.sink(_ToDatabase(recorder, run))

    return build


class _ToDatabase(BatchingSink):
    """Writes a batch when the checkpoint comes; only then is it counted as read."""

    def __init__(self, recorder: Recorder, run: Callable[[Any], Any]) -> None:
        super().__init__()
        self._recorder = recorder
        self._run = run

    def write(self, batch: SinkBatch) -> None:
        """One batch, durable on return. Raises StoreUnavailable, which ends the service before anything is counted."""
        self._run(self._recorder.keep([item.value for item in batch]))


def quix_sinks(*, influx: str, influx_token: str, influx_database: str, redis: str) -> list[Any]:
    """Quix's InfluxDB 3 and Redis sinks for the addresses that are given. Raises BadInput when their packages are missing."""
    found: list[Any] = []
    try:
        if influx:
            from quixstreams.sinks.core.influxdb3 import InfluxDB3Sink

            found.append(
                InfluxDB3Sink(
                    token=influx_token, host=influx, organization_id="", database=influx_database, measurement="conversations",
                    # Points of one moment with the same tags are one point to InfluxDB: the conversation keeps them apart.
                    tags_keys=["role", "run", "conversation"], fields_keys=["id", "text", "label", "score", "mean"], allow_missing_fields=True,
                )
            )  # fmt: skip
        if redis:
            from urllib.parse import urlsplit

            from quixstreams.sinks.community.redis import RedisSink

            at = urlsplit(redis if "//" in redis else f"redis://{redis}")
            found.append(
                RedisSink(
                    host=at.hostname or "localhost", port=at.port or 6379, db=int(at.path.strip("/") or 0), password=at.password,
                    key_serializer=lambda _key, value: f"frontdesk:{value['conversation']}:{value['id']}",
                )
            )  # fmt: skip
    except ImportError as why:
        raise BadInput(f"this sink needs a package more: pip install 'frontdesk[sinks]' ({why.name})") from None
    return found


def flat(message: Message) -> Message:
    """A message as one row of plain columns."""
    more = {k: message[k] for k in ("label", "score", "mean") if k in message}
    return {k: message[k] for k in ("id", "conversation", "run", "role")} | {"text": message["line"]["text"]} | more


@contextlib.contextmanager
def alongside(opened: Callable[[contextlib.AsyncExitStack], Coroutine[Any, Any, Any]]) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """An event loop in a thread of its own, with what `opened` opens in it, and a way to run coroutines there from a stream's callbacks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="frontdesk-rehearsal", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    async def hold(ready: asyncio.Future[Any], stop: asyncio.Event) -> None:
        async with contextlib.AsyncExitStack() as stack:  # opened and closed by the same task, as some of it must be
            try:
                ready.set_result(await opened(stack))
            except BaseException as why:
                ready.set_exception(why)
                raise
            await stop.wait()

    async def begin() -> tuple[asyncio.Task[None], asyncio.Event, Any]:
        ready, stop = loop.create_future(), asyncio.Event()
        task = loop.create_task(hold(ready, stop))
        return task, stop, await ready

    async def end(task: asyncio.Task[None], stop: asyncio.Event) -> None:
        stop.set()
        await task

    try:
        task, stop, found = run(begin())
        try:
            yield found, run
        finally:
            run(end(task, stop))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _read(value: bytes, key: bytes, _timestamp: int, _headers: Any) -> Message:
    return read(value, key)


def _placed(letter: Message) -> Message:
    from quixstreams import message_context

    at = message_context()
    return {**letter, "id": f"{at.topic}:{at.partition}:{at.offset}"}


def _no_key(letter: Message) -> str:
    return str(letter["id"])


def _is_dead(message: Message) -> bool:
    return bool(message["role"] == DEAD_LETTER)


def _is_alive(message: Message) -> bool:
    return bool(message["role"] != DEAD_LETTER)


def _has_words(message: Message) -> bool:
    return bool(message.get("line", {}).get("text"))


def _topic(app: Application, broker: Broker, name: str) -> Any:
    key: Any = "str" if name == DEAD else "bytes"
    return app.topic(
        broker.name(name), value_deserializer="bytes", value_serializer="json", key_deserializer="bytes", key_serializer=key,
        config=TopicConfig(num_partitions=PARTITIONS, replication_factor=1),
    )  # fmt: skip


def _quiet() -> logging.Logger:
    quiet = logging.getLogger("frontdesk.kafka")
    quiet.setLevel(logging.CRITICAL)
    return quiet
