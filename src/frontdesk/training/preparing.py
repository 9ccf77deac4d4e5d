"""Builds what a run learns from, before anything is loaded or started: examples with their report, written into the run's folder as shards.

Everything that can be refused is refused here: an empty FAQ, contradictions, wrong columns, a bucket that cannot be reached.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frontdesk.domain.events import HandedOff
from frontdesk.domain.tenancy import Tenant
from frontdesk.errors import BadInput
from frontdesk.knowledge.tenants import load_faq, load_tenant, load_tenants
from frontdesk.models.protocols import LanguageModel
from frontdesk.settings import Settings
from frontdesk.store.store import Store
from frontdesk.training import shards
from frontdesk.training.data import Example, Report, Voice, from_faq, from_json, read_wordings, report, to_json
from frontdesk.training.runfile import RunFile
from frontdesk.training.sources import from_conversation, from_dataset
from frontdesk.training.wordings import by_model

TESTED_SHARE = 10
"""One in so many conversations is kept for testing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run learns from."""

    examples: tuple[Example, ...]
    voice: Voice
    report: Report

    def write(self, folder: Path) -> None:
        """Into a run's folder: `data/` as shards, and `data.json` with voice and report."""
        shards.write((to_json(e) for e in self.examples), folder / "data")
        told = {"voice": dataclasses.asdict(self.voice), "report": dataclasses.asdict(self.report)}
        (folder / "data.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> tuple[list[Example], Voice, Mapping[str, Any]]:
    """What `write` wrote: examples, voice and the report as plain values."""
    told = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    rows = shards.Shards(str(folder / "data"), cache=folder / "cache").rows()
    return [from_json(row) for row in rows], Voice(**told["voice"]), told["report"]


async def prepare(run: RunFile, settings: Settings, *, store: Store | None = None, model: LanguageModel | None = None) -> Prepared:
    """The examples of a run and their report. `store`: for `data.log`; `model`: for `data.by_model`. Raises BadInput and Unavailable."""
    tenant = tenant_of(run, settings)
    company = tenant.name if tenant else run.name
    voice = Voice(company=company, system=run.data.system, prefix=run.data.prefix, prefix_answers=run.data.prefix_answers)
    examples: list[Example] = []
    if run.recipe == "faq" and tenant is not None:
        examples += await _faq(run, tenant, voice, model)
    if run.data.log and tenant is not None:
        if store is None:
            raise BadInput("learning from conversations needs the database: run it with --data")
        examples += await conversations(store, tenant, limit=run.data.limit)
    if run.recipe in ("faq", "dialogue") and run.data.dataset:
        found = from_dataset(_source(run), run.data.fields, split=run.data.split, limit=run.data.limit, system=voice.system_prompt)
        examples += _divided(found)
    if run.data.shards:
        url = run.data.shards if "://" in run.data.shards else str(run.path(run.data.shards))
        examples += [from_json(row) for row in shards.Shards(url, cache=settings.cache / "training" / "shards").rows()]
    return Prepared(examples=tuple(examples), voice=voice, report=report(examples))


async def conversations(store: Store, tenant: Tenant, *, limit: int = 0) -> list[Example]:
    """Examples of the tenant's resolved conversations, one in ten of them for testing; masked, each with its conversation's id."""
    kept = store.for_tenant(tenant.id).conversations
    found: list[Example] = []
    for row in await kept.list(limit=limit or 10_000):
        id_ = row.conversation_id
        summaries = [r.event.summary for r in await kept.events(id_, limit=10_000) if isinstance(r.event, HandedOff)]
        found += from_conversation(await kept.load(id_, any_caller=True), tenant, summary=summaries[-1] if summaries else "")
    return _divided(found)


async def _faq(run: RunFile, tenant: Tenant, voice: Voice, model: LanguageModel | None) -> list[Example]:
    assert tenant.folder is not None  # noqa: S101 - it was read from one
    pairs = load_faq(tenant.folder)
    written: dict[str, Sequence[str]] = {}
    if run.data.by_model:
        if model is None:
            raise BadInput("data.by_model needs a language model: set FRONTDESK_LLM_URL, or leave by_model out")
        for pair in pairs:
            written[pair.question] = await by_model(pair.question, model, count=run.data.by_model)
    return from_faq(
        pairs,
        voice,
        wordings=run.data.wordings,
        seed=run.parameters.seed,
        by_hand=read_wordings(run.path(run.data.by_hand)) if run.data.by_hand else None,
        by_model=written,
        unseen=read_wordings(run.path(run.data.unseen)) if run.data.unseen else None,
    )


def tenant_of(run: RunFile, settings: Settings) -> Tenant | None:
    """The tenant that a run names, by its folder or its id. Raises BadInput when there is none of that id."""
    if run.data.faq:
        return load_tenant(run.path(run.data.faq))
    if not run.tenant:
        return None
    for tenant in load_tenants(settings.tenants):
        if tenant.id == run.tenant:
            return tenant
    raise BadInput(f"there is no tenant {run.tenant!r} in {settings.tenants}: correct `tenant`, or name its folder with --tenants")


def _source(run: RunFile) -> str:
    """A path of the run file, or the name of a data set of the hub."""
    here = run.path(run.data.dataset)
    return str(here) if here.exists() else run.data.dataset


def _divided(examples: Sequence[Example]) -> list[Example]:
    """One conversation in ten for testing, one in ten for choices; all of its examples together."""
    places = {
        origin: n
        for n, origin in enumerate(
            dict.fromkeys(e.origin if e.origin.startswith("conversation") else str(n) for n, e in enumerate(examples))
        )
    }
    found = []
    for n, example in enumerate(examples):
        place = places[example.origin if example.origin.startswith("conversation") else str(n)]
        split = {1: "held_out", 2: "tuning"}.get(place % TESTED_SHARE, "train")
        found.append(dataclasses.replace(example, split=split))
    return found
