"""Putting an adapter into service for one tenant, and keeping the running desk in step with what is deployed.

    artefact folder --checks--> data/adapters/TENANT/NAME-DIGEST --row--> deployments --every 2 s--> model server --then--> the tenant's table

Refuses an adapter of another tenant, of another base, one that failed its gates, and one that is not whole. The row is written last, and the
table changes only when the model server has the adapter: no conversation meets a version that is not there.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput, FrontdeskError, ModelRefused, ModelUnavailable, Unavailable
from frontdesk.models import registry
from frontdesk.models.local import Adapter, LocalModel
from frontdesk.models.tuned import Tuned, TunedModels
from frontdesk.settings import Settings
from frontdesk.store.deployments import Deployment
from frontdesk.store.store import Store, TenantStore
from frontdesk.training import artefacts

REFRESH_SECONDS = 2.0
_log = logging.getLogger(__name__)


async def deploy(
    store: TenantStore, settings: Settings, folder: Path, *, actor: str, share: float = 1.0, note: str = "", despite_gates: bool = False
) -> Deployment:
    """Put the artefact in `folder` into service. `share` below 1: as a canary for that share of conversations.

    Raises BadInput for what must not be deployed, with the reason; ModelUnavailable when the model server does not take it.
    """
    manifest = await asyncio.to_thread(artefacts.load, folder)
    _check_tenant(manifest, store.tenant)
    if not despite_gates:
        _check_gates(manifest)
    await asyncio.to_thread(_check_base, manifest, settings)
    adapter = f"{store.tenant}.{_slug(manifest.name)}.{manifest.adapter_sha256[:12]}"
    place = f"{store.tenant}/{_slug(manifest.name)}-{manifest.adapter_sha256[:12]}"
    kept = settings.data / "adapters" / place
    if not kept.exists():
        await asyncio.to_thread(artefacts.copy, folder, kept)
    if settings.llm_url:
        await RemoteAdapters(settings).load({adapter: place})
    else:
        await _check_loads(settings, Adapter(id=adapter, path=kept / artefacts.ADAPTER))
    await store.desk.audit(
        actor=actor,
        action="models.deploy",
        subject=manifest.name,
        detail={"adapter": adapter, "share": share, "despite_gates": despite_gates},
    )
    return await store.deployments.add(
        name=manifest.name, adapter=adapter, folder=place, manifest=asdict(manifest), share=share, actor=actor, note=note
    )


def find(name: str, data: Path) -> Path:
    """The artefact folder that a name means: a folder itself, or what the run of that name exported. Raises BadInput."""
    given = Path(name)
    for folder in (given, data / "runs" / name / "export", data / "runs" / name):
        if (folder / artefacts.MANIFEST).is_file():
            return folder
    raise BadInput(f"there is no artefact {name!r}: give the name of a finished run (`frontdesk train get runs`) or an exported folder")


def base_file(settings: Settings) -> Path:
    """The GGUF that the embedded model server serves; fetched when it is not here yet."""
    folder = registry.pull(settings.llm_model, settings.cache)
    if folder.is_file():
        return folder
    return next(iter(sorted(folder.glob("*.gguf"))))


class RemoteAdapters:
    """Adapters of a vLLM server: loaded by name, chosen by the `model` of a request. Each has a name that only its tenant's table holds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.loaded: set[str] = set()

    def chosen(self, adapter: str) -> Mapping[str, Any]:
        """The request fields that choose one adapter, none for "". Raises ModelRefused when it was not loaded."""
        if adapter and adapter not in self.loaded:
            raise ModelRefused(f"the adapter {adapter} is not loaded in the model server: deploy it again")
        return {"model": adapter} if adapter else {}

    async def load(self, adapters: Mapping[str, str]) -> None:
        """Load what is not there yet: name -> place below `data/adapters`. Raises ModelUnavailable, BadInput, saying what to do."""
        s = self._settings
        root = s.llm_adapters or str((s.data / "adapters").resolve())
        headers = {"Authorization": f"Bearer {s.llm_key}"} if s.llm_key else {}
        base = s.llm_url.rstrip("/").removesuffix("/v1")
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            for name, place in adapters.items():
                if name in self.loaded:
                    continue
                try:
                    body = {"lora_name": name, "lora_path": f"{root}/{place}/{artefacts.PEFT}"}
                    answer = await http.post(f"{base}/v1/load_lora_adapter", json=body)
                except httpx.HTTPError as error:
                    raise ModelUnavailable("the model server cannot be reached: start it, or correct FRONTDESK_LLM_URL") from error
                if answer.status_code in (404, 405):
                    raise BadInput(
                        "this model server takes no adapters: start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
                    )
                if answer.status_code != httpx.codes.OK and "already" not in answer.text:
                    raise BadInput(f"the model server refused the adapter ({' '.join(answer.text.split())[:200]}): see its log")
                self.loaded.add(name)


@dataclass(kw_only=True)
class Keeper:
    """Keeps the model server and the tenants' table in step with the database."""

    store: Store
    settings: Settings
    tenants: Iterable[TenantId]
    models: TunedModels
    local: LocalModel | None = None
    remote: RemoteAdapters | None = None
    _seen: tuple[tuple[str, str, float], ...] = ()

    async def run(self) -> None:
        """Look again and again; a failure is logged and tried again."""
        while True:
            try:
                await self.refresh()
            except FrontdeskError as problem:
                _log.error("deployed adapters: %s", problem)
            await asyncio.sleep(REFRESH_SECONDS)

    async def refresh(self) -> None:
        """One look. Raises Unavailable; then what served goes on serving."""
        found = [(tenant, d) for tenant in list(self.tenants) for d in await self.store.for_tenant(tenant).deployments.live()]
        seen = tuple((str(t), d.label, d.share) for t, d in found)
        if seen == self._seen:
            return
        places = {d.adapter: d.folder for _, d in found}
        usable = await self._load(places)
        self.models.serve(tuned(tenant, d) for tenant, d in found if d.adapter in usable)
        if usable >= set(places):
            self._seen = seen
        _log.info("adapters in service: %s", ", ".join(f"{t} {d.label}" for t, d in found if d.adapter in usable) or "none")

    async def _load(self, places: Mapping[str, str]) -> set[str]:
        if self.remote is not None:
            await self.remote.load(places)
            return set(places)
        if self.local is None:
            return set()
        root = self.settings.data / "adapters"
        await self.local.use([Adapter(id=one, path=root / place / artefacts.ADAPTER) for one, place in places.items()])
        return set(self.local.loaded)


def tuned(tenant: TenantId, deployment: Deployment) -> Tuned:
    """A deployment as the desk asks it."""
    manifest = deployment.manifest
    return Tuned(
        tenant=tenant,
        adapter=deployment.adapter,
        label=deployment.label,
        prefix=str(manifest.get("prefix", "")),
        system=str(manifest.get("system", "")),
        share=deployment.share,
    )


def _check_tenant(manifest: artefacts.Manifest, tenant: TenantId) -> None:
    if manifest.tenant and manifest.tenant != tenant:
        raise BadInput(f"{manifest.name} was trained on the data of {manifest.tenant} and may serve nobody else: train one for {tenant}")


def _check_gates(manifest: artefacts.Manifest) -> None:
    gates = manifest.figures.get("gates", {})
    failed = [name for name, gate in gates.items() if not (gate.get("passed") if isinstance(gate, Mapping) else gate)]
    if failed:
        raise BadInput(f"{manifest.name} failed its gates ({', '.join(failed)}): train again, or deploy it with --despite-gates")
    if not gates:
        raise BadInput(f"{manifest.name} was not evaluated: run its gates first, or deploy it with --despite-gates")


def _check_base(manifest: artefacts.Manifest, settings: Settings) -> None:
    if not settings.llm_url:
        artefacts.require_base(manifest, base_file(settings))
    elif manifest.base != settings.llm_model:
        raise BadInput(
            f"{manifest.name} belongs to {manifest.base}, and the model server serves {settings.llm_model}: they must be the same"
        )


async def _check_loads(settings: Settings, adapter: Adapter) -> None:
    """llama.cpp itself says whether it can use the file, before anybody depends on it."""
    trial = LocalModel(base_file(settings), threads=1, slots=1, context=256, data=settings.data, name="trial", adapters=[adapter])
    try:
        await trial.start()
    except Unavailable as error:
        raise BadInput(f"llama.cpp cannot load this adapter: {error}") from error
    finally:
        await trial.stop()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "adapter"
