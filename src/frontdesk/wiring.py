"""Puts the program together: the only place that picks a database, a model and an embedder. Holds no behaviour of its own."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from frontdesk.desk.briefing import Briefings
from frontdesk.desk.desk import Desk
from frontdesk.desk.dynamic import Dynamic
from frontdesk.desk.phrasing import Phrasing
from frontdesk.desk.reading import Reader
from frontdesk.desk.recording import FrontOffice
from frontdesk.domain.tenancy import Role, Tenant, TenantId
from frontdesk.errors import Conflict, FrontdeskError, Unavailable
from frontdesk.knowledge.library import Library, SyncReport
from frontdesk.knowledge.tenants import load_tenants
from frontdesk.models import registry
from frontdesk.models.client import Changing, ChatClient, RemoteEmbedder
from frontdesk.models.cross_encoder import CrossEncoder
from frontdesk.models.embedder import SentenceEncoder, taught
from frontdesk.models.local import LocalModel
from frontdesk.models.protocols import Embedder, LanguageModel, Matcher
from frontdesk.models.scripted import HashEmbedder, ScriptedModel
from frontdesk.models.tuned import TunedModels
from frontdesk.rights.erasing import Eraser
from frontdesk.settings import Settings
from frontdesk.store.store import Store
from frontdesk.tools.calling import http_client
from frontdesk.tools.catalog import Catalog, load_catalog
from frontdesk.training.deploying import Keeper, RemoteAdapters

log = logging.getLogger(__name__)
T = TypeVar("T")

CONTEXT_TOKENS = 2048
"""Context of the embedded model for each conversation in flight."""
PAIRS_BASE, ENCODER, PAIRS = "all-minilm-l6-v2", "reading_encoder.safetensors", "reading_pairs.safetensors"
SCRIPTED = "scripted:"
_PULLING = threading.Lock()
"""A terminal shows one progress bar at a time."""
NONE = "none"


@dataclass(kw_only=True)
class Office:
    """The running program: what the server, the commands and the benchmarks are given."""

    settings: Settings
    store: Store
    library: Library
    tenants: dict[TenantId, Tenant]
    catalogs: Mapping[TenantId, Catalog]
    embedder: Embedder
    model: LanguageModel | None
    reader: Reader
    briefings: Briefings
    front_office: FrontOffice
    eraser: Eraser
    local_model: LocalModel | None = None
    translator: Callable[[Tenant], LanguageModel | None] = lambda _: None
    """The model that translates for a tenant, where there is one."""
    reports: dict[TenantId, SyncReport] = field(default_factory=dict)
    problems: dict[TenantId, str] = field(default_factory=dict)
    passing: bool = False
    """Whether trying again may solve one of the problems."""
    rehearsal: Any = None
    """What the page of a demonstration's rehearsal watches."""
    _demo_keys: dict[TenantId, str] = field(default_factory=dict)

    async def prepare(self, *, progress: Any = None, among: Collection[TenantId] = ()) -> bool:
        """Brings each tenant's index in step with its folder and makes it ready to answer; whether some could not be made so.

        A tenant that fails does not stop the others; those that are ready are not touched again. `among`: only these, where any are named.
        """
        self.passing = False
        making: tuple[Tenant, asyncio.Task[None]] | None = None
        try:
            for tenant in [
                t for t in self.tenants.values() if (t.id not in self.reports or t.id in self.problems) and (not among or t.id in among)
            ]:
                report = await self._tried(tenant, self.library.sync(tenant, progress=progress))
                if making is not None:
                    await making[1]
                    making = None
                if report is not None:  # it is made ready to answer while the next one's folder is read
                    making = tenant, asyncio.create_task(self._made_ready(tenant, report), name=f"preparing {tenant.id}")
            if making is not None:
                await making[1]
        finally:
            if making is not None:
                making[1].cancel()  # nothing is left of it, unless something else failed
        return bool(self.problems)

    async def _made_ready(self, tenant: Tenant, report: SyncReport) -> None:
        if await self._tried(tenant, self.briefings.of(tenant)) is not None:
            self.reports[tenant.id] = report
            self.problems.pop(tenant.id, None)

    async def _tried(self, tenant: Tenant, work: Awaitable[T]) -> T | None:
        """What comes of some work for a tenant; None, and a note of the problem, when it fails."""
        try:
            return await work
        except FrontdeskError as problem:
            self.problems[tenant.id] = str(problem)
            self.passing |= isinstance(problem, (Unavailable, Conflict))
            log.error("%s: %s", tenant.id, problem)  # noqa: TRY400 - the sentence says it all
        except Exception:
            # One tenant's material must not keep the others from their customers.
            self.problems[tenant.id] = "a fault while its material was read: see the log"
            log.exception("%s could not be made ready", tenant.id)
        return None

    async def open_demo(self) -> None:
        """Makes a widget key for each tenant, for the chat page of a local demonstration."""
        self._demo_keys = {t: await self.store.for_tenant(t).keys.create(Role.WIDGET, "demo page") for t in self.tenants}

    async def demo_keys(self) -> Mapping[TenantId, str]:
        """Keys that the chat page may use; empty outside a demonstration."""
        return self._demo_keys

    def demo_customers(self) -> Mapping[TenantId, Sequence[Mapping[str, Any]]]:
        """Invented customers that the chat page of a demonstration may sign in as, from `demo: customers:`; none elsewhere."""
        named = {t.id: t.demo.get("customers", ()) for t in self.tenants.values()} if self._demo_keys else {}
        told = {t: [(c, [str(q) for q in c.get("questions", ())]) for c in people] for t, people in named.items()}
        return {t: [{"id": str(c["id"]), "name": str(c["name"]), "questions": q} for c, q in people] for t, people in told.items()}

    async def readiness(self) -> dict[str, Any]:
        """`{"ready", "problems", "tenants"}` as `/readyz` shows it."""
        problems = [f"{tenant}: {text}" for tenant, text in self.problems.items()]
        with suppress(Unavailable):
            await self.store.ping()
            states = {str(t): self._state(t) for t in self.tenants}
            ready = all(s["synced"] for s in states.values()) and not problems
            notes = [f"{t}: {c.disabled}" for t, c in self.catalogs.items() if c.disabled]
            if self.settings.llm_url in ("", NONE, SCRIPTED):
                off = "`translate` is off: the embedded model does not translate, so set FRONTDESK_LLM_URL to a server that does"
                notes += [f"{t.id}: {off}" for t in self.tenants.values() if t.models.get("translate")]
            if self.local_model is not None and not self.local_model.alive:
                notes.append("the language model is down: replies are composed from quotations until it is back")
            if not ready and not problems:
                problems = ["tenants are still being synced"]
            return {"ready": ready, "problems": [*problems, *notes], "tenants": states}
        return {"ready": False, "problems": ["the database cannot be reached"], "tenants": {}}

    def _state(self, tenant: TenantId) -> dict[str, Any]:
        report = self.reports.get(tenant)
        disabled = self.catalogs[tenant].disabled if tenant in self.catalogs else ""
        failed = [f"{source}: {reason}" for source, reason in report.failed] if report else []
        return {
            "synced": report is not None,
            "failed_documents": failed,
            "tools": disabled or "on",
            "problem": self.problems.get(tenant, ""),
        }


@asynccontextmanager
async def running(settings: Settings, *, tenants: Sequence[Tenant] | None = None) -> AsyncIterator[Office]:
    """The whole program, started; stopped again on leaving. Tenants are not synced yet: see `Office.prepare`.

    Raises BadTenant, BadToolSpec, ModelMissing, StoreUnavailable and ModelUnavailable.
    """
    # Matrix products spin at barriers like everything else that computes: on a busy box a thread too many costs more than it brings.
    threadpool_limits(settings.compute_threads)
    served = {t.id: t for t in (load_tenants(settings.tenants) if tenants is None else tenants)}
    catalogs = {t.id: load_catalog(t) for t in served.values()}
    async with AsyncExitStack() as stack:
        # Side by side: a database that recovers from a crash must not wait for models to load, nor they for it.
        vectors = asyncio.create_task(_embedder(settings, stack))
        opening = asyncio.create_task(_store(settings, stack))
        speaking = asyncio.create_task(_language_model(settings, stack))
        encoding = asyncio.create_task(_reading_models(settings))
        await _all_ready(vectors, opening, speaking, encoding)
        embedder, store, (model, local) = vectors.result(), opening.result(), speaking.result()
        library = Library(store, embedder, max_bytes=settings.max_upload_bytes)
        encoder, matcher = encoding.result()
        reader = Reader(embedder, encoder=encoder, matcher=matcher)
        briefings = Briefings(store=store, embedder=embedder, reader=reader, catalogs=catalogs)
        stack.push_async_callback(briefings.close)
        http = await stack.enter_async_context(http_client())
        found = partial(_passages, library)
        translator = partial(_translator, settings, stack, {})
        dynamic = Dynamic(
            store=store,
            embedder=embedder,
            encoder=reader.encoder,
            matcher=matcher,
            http=http,
            model=model,
            search=found,
            translator=translator,
        )
        tuned = await _tuned_models(settings, store, served, model, local, stack)
        phrasing = Phrasing(model, tuned=tuned)
        desk = Desk(briefings=briefings, reader=reader, library=library, dynamic=dynamic, phrasing=phrasing, tenants=served)
        front_office = FrontOffice(store=store, desk=desk, tenants=served, settings=settings)
        yield Office(
            settings=settings,
            store=store,
            library=library,
            tenants=served,
            catalogs=catalogs,
            embedder=embedder,
            model=model,
            reader=reader,
            briefings=briefings,
            front_office=front_office,
            eraser=eraser_of(settings),
            local_model=local,
            translator=translator,
        )


def eraser_of(settings: Settings) -> Eraser:
    """What forgets customers in this data folder, its training runs included."""
    from frontdesk.training import erasing

    return Eraser(settings.data, forget=partial(erasing.forget, settings.data))


@asynccontextmanager
async def indexing(settings: Settings) -> AsyncIterator[tuple[Store, Library, Mapping[TenantId, Tenant]]]:
    """Store and library alone, for commands that need no language model."""
    served = {t.id: t for t in load_tenants(settings.tenants)}
    async with AsyncExitStack() as stack:
        embedder = await _embedder(settings, stack)
        store = await Store.open(settings)
        stack.push_async_callback(store.close)
        yield store, Library(store, embedder, max_bytes=settings.max_upload_bytes), served


@asynccontextmanager
async def embedding(settings: Settings) -> AsyncIterator[Embedder]:
    """The embedding model alone."""
    async with AsyncExitStack() as stack:
        yield await _embedder(settings, stack)


@asynccontextmanager
async def talking(settings: Settings) -> AsyncIterator[LanguageModel | None]:
    """The language model alone, for callers who would rather wait than do without; None where the settings say that there is none."""
    async with AsyncExitStack() as stack:
        model, local = await _language_model(settings, stack)
        yield await _patient(settings, model, local, stack)


@asynccontextmanager
async def patient(office: Office) -> AsyncIterator[LanguageModel | None]:
    """A running office's language model, for callers who would rather wait than do without."""
    async with AsyncExitStack() as stack:
        yield await _patient(office.settings, office.model, office.local_model, stack)


async def _patient(
    settings: Settings, model: LanguageModel | None, local: LocalModel | None, stack: AsyncExitStack
) -> LanguageModel | None:
    if not isinstance(model, ChatClient):
        return model
    url, key = (settings.llm_url, settings.llm_key) if local is None else (lambda: local.url, lambda: local.key)
    long = replace(settings, first_token_seconds=60.0, between_tokens_seconds=30.0, answer_seconds=120.0, llm_queue=4096)
    client = _chat_client(long, url, key)
    stack.push_async_callback(client.close)
    return client


async def _all_ready(*tasks: asyncio.Task[Any]) -> None:
    """Waits for all of them, so that whatever was opened is closed again; raises what the first that failed raised."""
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    if problems := [problem for task in tasks if (problem := task.exception()) is not None]:
        raise problems[0]


async def _store(settings: Settings, stack: AsyncExitStack) -> Store:
    store = await Store.open(settings)
    stack.push_async_callback(store.close)
    return store


async def _embedder(settings: Settings, stack: AsyncExitStack) -> Embedder:
    if settings.embeddings_url == SCRIPTED:
        return HashEmbedder()
    if settings.embeddings_url:
        remote = await RemoteEmbedder.connect(settings.embeddings_url, settings.embeddings_key, settings.embeddings_model)
        stack.push_async_callback(remote.close)
        return remote
    path = await asyncio.to_thread(_pull, settings.embeddings_model, settings)
    return await asyncio.to_thread(lambda: SentenceEncoder(path, threads=settings.compute_threads))


async def _reading_models(settings: Settings) -> tuple[Embedder | None, Matcher | None]:
    """The encoder that compares customers' words with what is written, and the one that reads both together.

    They stay embedded whatever makes the index's vectors; None: its vectors do all of it.
    """
    if settings.embeddings_url == SCRIPTED:
        return None, None
    path = await asyncio.to_thread(_pull, PAIRS_BASE, settings)
    threads = settings.compute_threads
    # A customer waits for a question's vector, and at a first start for thousands of them: short bursts on one core more.
    together = min(threads + 1, os.cpu_count() or 1)
    with as_file(files("frontdesk.desk") / ENCODER) as adapter, as_file(files("frontdesk.desk") / PAIRS) as pairs:
        return await asyncio.gather(
            asyncio.to_thread(
                lambda: taught(
                    adapter, settings.cache, threads=together, name=_named(adapter), pull=lambda name, _cache: _pull(name, settings)
                )
            ),
            asyncio.to_thread(lambda: CrossEncoder(path, pairs, threads=threads)),
        )


def _named(adapter: Path) -> str:
    """A name that changes with what was learnt, so that kept vectors are never another encoder's."""
    return f"reading-encoder-{hashlib.sha256(adapter.read_bytes()).hexdigest()[:12]}"


async def _language_model(settings: Settings, stack: AsyncExitStack) -> tuple[LanguageModel | None, LocalModel | None]:
    if settings.llm_url == NONE:
        return None, None
    if settings.llm_url == SCRIPTED:
        return ScriptedModel(lambda _request: ""), None
    if settings.llm_url:
        client = _chat_client(settings, settings.llm_url, settings.llm_key)
        stack.push_async_callback(client.close)
        return client, None
    path = await asyncio.to_thread(_pull, settings.llm_model, settings)
    local = LocalModel(path, threads=settings.compute_threads, slots=settings.llm_slots, context=CONTEXT_TOKENS, data=settings.data)
    await local.start()
    stack.push_async_callback(local.stop)
    client = _chat_client(settings, lambda: local.url, lambda: local.key)
    client.adapters = local.chosen
    stack.push_async_callback(client.close)
    return client, local


async def _tuned_models(
    settings: Settings,
    store: Store,
    tenants: Iterable[TenantId],
    model: LanguageModel | None,
    local: LocalModel | None,
    stack: AsyncExitStack,
) -> TunedModels | None:
    """The tenants' tuned models, kept in step with what is deployed; None without a model that could hold them."""
    if not isinstance(model, ChatClient):
        return None
    remote = None if local is not None else RemoteAdapters(settings)
    if remote is not None:
        model.adapters = remote.chosen
    tuned = TunedModels(model)
    keeper = Keeper(store=store, settings=settings, tenants=tenants, models=tuned, local=local, remote=remote)
    with suppress(FrontdeskError):  # tried again by `run`, which says why
        await keeper.refresh()
    task = asyncio.create_task(keeper.run(), name="frontdesk deployed adapters")

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)
    return tuned


def _translator(settings: Settings, stack: AsyncExitStack, made: dict[str, ChatClient], tenant: Tenant) -> LanguageModel | None:
    """The model that a tenant's file names for translating; None where it names none, and with the embedded model, which does not translate."""
    name = str(tenant.models.get("translate", ""))
    if not name or settings.llm_url in ("", NONE, SCRIPTED):
        return None
    if name not in made:
        made[name] = _chat_client(replace(settings, llm_model=name), settings.llm_url, settings.llm_key)
        stack.push_async_callback(made[name].close)
    return made[name]


async def _passages(library: Library, tenant: TenantId, question: str) -> list[Mapping[str, Any]]:
    """What a model that searches is given."""
    hits = await library.search(tenant, question, limit=4)
    return [{"title": h.passage.title, "text": h.passage.text[:600], "source": h.passage.source} for h in hits]


def _chat_client(settings: Settings, url: Changing, key: Changing) -> ChatClient:
    return ChatClient(
        url,
        key,
        settings.llm_model,
        first_token=settings.first_token_seconds,
        between_tokens=settings.between_tokens_seconds,
        total=settings.answer_seconds,
        slots=settings.llm_slots,
        queue=settings.llm_queue,
    )


def _pull(name: str, settings: Settings) -> Any:
    with _PULLING, registry.progress_bar() as progress:
        return registry.pull(name, settings.cache, progress)
