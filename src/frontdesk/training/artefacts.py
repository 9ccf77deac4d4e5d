"""What a training run leaves behind: an adapter for llama.cpp, the same adapter for PEFT, and a manifest that says what they belong to.

Refuses to merge an adapter into a 4-bit base (the training would be rounded away), adapters of another base, and anything half-written:
a folder appears under its name only when everything in it is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from frontdesk.errors import BadInput
from frontdesk.models.local import Adapter, LocalModel
from frontdesk.models.tuned import prefixed

ADAPTER = "adapter.gguf"
PEFT = "peft"
MANIFEST = "manifest.json"
_SPARE = 50_000_000
"""Bytes that must stay free on the disk."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an adapter belongs to and how it is to be asked. Kept as `manifest.json` beside the adapter."""

    name: str
    tenant: str
    """The only tenant that may use it; "" for a general adapter."""
    recipe: str
    base: str
    """Registry name of the base model."""
    base_sha256: str
    """Digest of the base model's GGUF file, in hex."""
    prefix: str = ""
    """What the server puts before each question, e.g. `In Northwind Bank, `."""
    system: str = ""
    """The system prompt it was trained with."""
    template_sha256: str = ""
    """Digest of the base's chat template."""
    data_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, gates included (`figures["gates"]`: name -> {"value", "bar", "passed"})."""
    adapter_sha256: str = ""
    """Digest of `adapter.gguf`; filled in by `export`."""


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """A prompt and the reply that a model prefers, in tokens. `ends`: the token that ends a reply."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    ends: int


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Greedy tokens of the exported adapter beside those of transformers. Shares in [0, 1]."""

    exact: float
    """Share of equal tokens: F16 base + adapter against transformers; the bar is 1."""
    quantised: float
    """The same for the base as it is served (4 bits); the bar is .9."""
    changed: float
    """Share of prompts whose reply differs from the untrained base's; 0 means that nothing was learnt or applied."""
    tokens: int
    """Tokens compared."""

    @property
    def passed(self) -> bool:
        """Whether the adapter may be deployed."""
        return self.exact == 1.0 and self.quantised >= 0.9 and self.changed > 0


def export(adapter: Path, base: Path, out: Path, manifest: Manifest) -> Path:
    """Write `out` with adapter.gguf, peft/ and manifest.json, all or nothing; gives `out`. One that is there is replaced as a whole.

    `adapter`: PEFT folder (LoRA). `base`: the GGUF file. Raises BadInput for what llama.cpp cannot take (DoRA, rsLoRA, saved modules,
    embedding or head targets, another architecture or another base) and where nothing was learnt.
    """
    from frontdesk.training import gguf_files

    require_base(manifest, base)
    facts = gguf_files.base_facts(base)
    updates, alpha = gguf_files.peft_updates(adapter, facts)
    if not any(u.b.any() for u in updates):
        raise BadInput(f"{adapter} changes nothing: its training took no step, so there is nothing to deploy")
    needed = 3 * sum(u.a.nbytes + u.b.nbytes for u in updates)
    with _whole(out, needed) as part:
        gguf_files.write_adapter(part / ADAPTER, updates, alpha, name=manifest.name)
        (part / PEFT).mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(adapter / name, part / PEFT / name)
        complete = replace(
            manifest,
            adapter_sha256=sha256(part / ADAPTER),
            template_sha256=hashlib.sha256(facts.template.encode()).hexdigest(),
            versions={**installed_versions(), **manifest.versions},
        )
        (part / MANIFEST).write_text(json.dumps(dataclasses.asdict(complete), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return out


def load(folder: Path) -> Manifest:
    """The manifest of an artefact, after its adapter was checked against it. Raises BadInput for one that is not whole."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{folder} is no artefact: it holds no {MANIFEST}; give the folder that a training run exported") from error
    except ValueError as error:
        raise BadInput(f"{folder / MANIFEST} is damaged: export the adapter again") from error
    known = {f.name for f in dataclasses.fields(Manifest)}
    required = {f.name for f in dataclasses.fields(Manifest) if f.default is MISSING and f.default_factory is MISSING}
    if not isinstance(data, dict) or not required <= set(data) <= known:
        raise BadInput(f"{folder / MANIFEST} is not written as this version writes it: export the adapter again")
    manifest = Manifest(**data)
    if not (folder / ADAPTER).is_file() or sha256(folder / ADAPTER) != manifest.adapter_sha256:
        raise BadInput(f"{folder / ADAPTER} is not the file that its manifest names: it was cut off or exchanged, export it again")
    return manifest


def copy(folder: Path, out: Path) -> Path:
    """A copy of an artefact that appears whole or not at all; gives `out`."""
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    with _whole(out, size) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)
    return out


def require_base(manifest: Manifest, base: Path) -> None:
    """Raises BadInput when the adapter was trained on another base than this file."""
    found = sha256(base)
    if found != manifest.base_sha256:
        raise BadInput(
            f"{manifest.name} was trained on a base with the digest {manifest.base_sha256[:12]}… ({manifest.base}), and {base.name} has "
            f"{found[:12]}…: serve that base, or train again on this one"
        )


def merge(folder: Path, base: Path, out: Path, *, kind: str = "f16") -> Path:
    """The base with the adapter merged in, as one GGUF file of `kind` (f16, q8_0, f32); gives `out`.

    Raises BadInput for a 4-bit kind, with the reason, and for an adapter of another base.
    """
    from frontdesk.training import gguf_files

    manifest = load(folder)
    require_base(manifest, base)
    updates, _ = gguf_files.read_adapter(folder / ADAPTER)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        gguf_files.write_merged(base, part, kind=kind, updates=updates)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out


def verify(folder: Path, prompts: Sequence[str], *, base: Path, base_folder: Path, tokens: int = 24, threads: int = 1) -> Verification:
    """Compare the exported adapter with transformers on chat prompts (`prompts`: the user's words). Needs torch and peft.

    `base`: the GGUF as it is served; `base_folder`: the same model as a plain Hugging Face folder. Each token is compared after the same
    beginning, so that one difference is counted once.
    """
    from frontdesk.training import gguf_files
    from frontdesk.training.reference import greedy

    manifest = load(folder)
    require_base(manifest, base)
    asked = [[*_system(manifest), {"role": "user", "content": prefixed(manifest.prefix, p)}] for p in prompts]
    expected, untrained = greedy(base_folder, folder / PEFT, asked, tokens=tokens, threads=threads)
    with tempfile.TemporaryDirectory(prefix="frontdesk-verify-") as scratch:
        half = Path(scratch) / "base-f16.gguf"
        gguf_files.write_merged(base, half, kind="f16")
        exact = asyncio.run(_agreement(half, folder / ADAPTER, expected, Path(scratch), threads))
        quantised = asyncio.run(_agreement(base, folder / ADAPTER, expected, Path(scratch), threads))
    changed = sum(one.reply != other.reply for one, other in zip(expected, untrained, strict=True)) / len(expected)
    return Verification(exact=exact, quantised=quantised, changed=changed, tokens=sum(len(e.reply) for e in expected))


async def _agreement(model: Path, adapter: Path, expected: Sequence[Greedy], scratch: Path, threads: int) -> float:
    """Share of the expected tokens that llama.cpp gives as well, each after the same beginning."""
    served = [Adapter(id="it", path=adapter)]
    local = LocalModel(model, threads=threads, slots=1, context=2048, data=scratch, adapters=served)
    await local.start()
    equal = 0
    try:
        async with httpx.AsyncClient(
            base_url=local.url, headers={"Authorization": f"Bearer {local.key}"}, trust_env=False, timeout=120
        ) as http:
            for one in expected:
                for place, token in enumerate(one.reply):
                    body = {"prompt": [*one.prompt, *one.reply[:place]], "n_predict": 1, "temperature": 0, "return_tokens": True}
                    answer = await http.post("/completion", json={**body, **local.chosen("it")})
                    found = answer.json().get("tokens") or [one.ends]  # the end of the reply is not returned as a token
                    equal += found[0] == token
    finally:
        await local.stop()
    return equal / sum(len(e.reply) for e in expected)


def installed_versions() -> dict[str, str]:
    """Versions of what made the adapter, as far as it is installed."""
    found = {}
    for name in ("frontdesk", "torch", "transformers", "peft", "gguf", "xllamacpp"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def sha256(path: Path) -> str:
    """Digest of a file, in hex. Raises BadInput when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): give a file that is there") from error


@contextlib.contextmanager
def _whole(out: Path, needed: int) -> Iterator[Path]:
    """A folder to write to, which becomes `out` when everything went well, and is gone otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < needed + _SPARE:
        raise BadInput(f"{out.parent} has {free / 1e6:.0f} MB free and {(needed + _SPARE) / 1e6:.0f} MB are needed: free some space")
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    part.mkdir()
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        old = out.with_name(f".{out.name}.{secrets.token_hex(4)}.old")
        if out.exists():
            out.rename(old)
        part.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise BadInput(f"{out} cannot be written ({error.strerror}): nothing was left behind") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _system(manifest: Manifest) -> list[dict[str, str]]:
    return [{"role": "system", "content": manifest.system}] if manifest.system else []
