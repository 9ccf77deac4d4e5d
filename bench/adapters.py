"""Adapters per request: nobody gets another tenant's, a switch costs little, and the export says what transformers says.

    python -m bench.adapters [--requests 1000] [--tokens 3] [--artefact DIR --faq TENANT_DIR]

Two loud adapters (random updates of three layers, so that every reply shows which one spoke) beside the embedded base model, asked by eight
callers at once in random order, replies held against those of each adapter alone. Bar: 0 of 1,000 with another's reply. Peer in the same
run: the same requests as llama.cpp's documentation suggests them, the field `lora` only where an adapter is wanted. With `--artefact`,
or an adapter made here when torch is installed, the export is compared with transformers token by token: F16 1.0, 4 bits at least .9. With `--faq` also what
customers would read when that adapter may say approved answers: no amount may be lost.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from frontdesk import settings as configuration
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.desk.phrasing import Phrasing
from frontdesk.desk.quantities import quantities
from frontdesk.domain.conversation import Conversation, ConversationId, Route
from frontdesk.domain.events import DraftRejected, ModelPhrased
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import ModelUnavailable
from frontdesk.knowledge.tenants import load_faq
from frontdesk.models import registry
from frontdesk.models.client import ChatClient
from frontdesk.models.local import Adapter, LocalModel
from frontdesk.models.protocols import ChatRequest, complete
from frontdesk.models.tuned import Tuned, TunedModels
from frontdesk.training import artefacts, gguf_files
from frontdesk.training.wordings import by_rules

QUESTIONS = (
    "What is the capital of France?",
    "How do I open an account?",
    "What does a transfer cost?",
    "Tell me about your opening hours.",
)
CALLERS = 8


def loud(base: Path, seed: int) -> list[gguf_files.Update]:
    """Random updates that change every reply."""
    rng = np.random.default_rng(seed)
    shapes = gguf_files.base_facts(base).shapes
    names = [f"blk.{n}.ffn_down.weight" for n in (20, 28, 29)]
    return [
        gguf_files.Update(
            name=name,
            a=(rng.normal(size=(4, shapes[name][1])) / shapes[name][1] ** 0.5).astype(np.float32),
            b=(rng.normal(size=(shapes[name][0], 4)) * 3).astype(np.float32),
            scale=1.0,
        )
        for name in names
    ]


Fields = Callable[[str], Mapping[str, Any]]


async def ask(client: ChatClient, question: str, adapter: str, tokens: int) -> str:
    """One reply; asked again when the model process was ended meanwhile, as happens on a machine without a free core."""
    for pause in (0.5, 2.0, 10.0, 30.0, None):
        try:
            return await complete(client, ChatRequest(messages=[{"role": "user", "content": question}], max_tokens=tokens, adapter=adapter))
        except ModelUnavailable:
            if pause is None:
                raise
            await asyncio.sleep(pause)
    raise AssertionError


async def wrong(
    client: ChatClient, jobs: Sequence[tuple[str, str]], alone: Mapping[tuple[str, str], str], tokens: int
) -> tuple[int, int, float]:
    """(replies that differ, of these another adapter's, requests a second)."""
    free, begun = asyncio.Semaphore(CALLERS), time.perf_counter()

    async def one(job: tuple[str, str]) -> str:
        async with free:
            return await ask(client, *job, tokens)

    replies = await asyncio.gather(*(one(j) for j in jobs))
    others = {q: {alone[q, a]: a for a in ("", "a", "b")} for q in QUESTIONS}
    differ = [(job, said) for job, said in zip(jobs, replies, strict=True) if said != alone[job]]
    foreign = sum(said in others[job[0]] for job, said in differ)
    return len(differ), foreign, len(jobs) / (time.perf_counter() - begun)


async def served(base: Path, adapters: Sequence[Adapter], folder: Path, work: Any) -> Any:
    """Runs `work(local, client_of)` beside a served model."""
    local = LocalModel(base, threads=1, slots=3, context=512, data=folder, adapters=adapters, drain_seconds=5)
    await local.start()
    clients: list[ChatClient] = []

    def client(fields: Fields) -> ChatClient:
        limits = {"first_token": 300.0, "between_tokens": 60.0, "total": 600.0}
        clients.append(ChatClient(lambda: local.url, lambda: local.key, "base", **limits, slots=CALLERS, queue=5000, adapters=fields))
        return clients[-1]

    try:
        return await work(local, client)
    finally:
        for one in clients:
            await one.close()
        await local.stop()


async def isolation(base: Path, requests: int, tokens: int, folder: Path) -> None:
    """The table of isolation, switching and taking up."""
    files = {name: folder / f"{name}.gguf" for name in ("a", "b", "c")}
    for seed, path in enumerate(files.values()):
        gguf_files.write_adapter(path, loud(base, seed + 1), 4.0)
    adapters = {name: Adapter(id=name, path=path) for name, path in files.items()}
    alone: dict[tuple[str, str], str] = {}

    async def by_itself(local: LocalModel, client: Any) -> None:
        mine = client(local.chosen)
        name = next(iter(local.loaded), "")
        for question in QUESTIONS:
            alone[question, name] = await ask(mine, question, name, tokens)

    for chosen in ([], [adapters["a"]], [adapters["b"]]):
        await served(base, chosen, folder, by_itself)
    distinct = sum(len({alone[q, a] for a in ("", "a", "b")}) == 3 for q in QUESTIONS)
    print(f"{'questions on which all three replies differ':60} {distinct} of {len(QUESTIONS)}")
    rng = random.Random(1)
    jobs = [(rng.choice(QUESTIONS), rng.choice(["", "a", "b"])) for _ in range(requests)]

    async def both(local: LocalModel, client: Any) -> None:
        differ, foreign, rate = await wrong(client(local.chosen), jobs, alone, tokens)
        if local.restarts:
            print(f"{'restarts of the model process meanwhile':60} {local.restarts}; its log ends: {local.log.read_text()[-200:]!r}")
        print(
            f"{'every adapter named in each request: replies of another':60} {foreign} of {requests} ({differ} differ; {rate:.1f} requests/s)"
        )

        def only_where_wanted(adapter: str) -> Mapping[str, Any]:
            number = {"a": 0, "b": 1}.get(adapter)
            return {} if number is None else {"lora": [{"id": number, "scale": 1.0}]}

        few = jobs[: max(60, requests // 5)]
        differ, foreign, _ = await wrong(client(only_where_wanted), few, alone, tokens)
        print(f"{'peer, `lora` only where wanted: replies of another':60} {foreign} of {len(few)} ({differ} differ)")
        mine = client(local.chosen)
        for label, order in (("same adapter again", ["a"] * 8), ("another adapter each time", ["a", "b"] * 4)):
            times = []
            for name in order:
                start = time.perf_counter()
                await ask(mine, QUESTIONS[0], name, 1)
                times.append((time.perf_counter() - start) * 1000)
            print(f"{label + ', one token, p50':60} {statistics.median(times):.0f} ms")
        start = time.perf_counter()
        running = asyncio.create_task(ask(mine, "Tell me a long story about a lighthouse.", "a", 40))
        await local.use(list(adapters.values()))
        took = time.perf_counter() - start
        said = await ask(mine, QUESTIONS[0], "c", tokens)
        await running
        print(f"{'a third adapter taken up, an answer running meanwhile':60} {took:.2f} s; the answer came whole; c answers: {bool(said)}")

    await served(base, [adapters["a"], adapters["b"]], folder, both)


async def wording(base: Path, artefact: Path, faq: Path, folder: Path) -> None:
    """What a customer would read when the tuned model may say approved answers: the same, reworded, or refused and the same."""
    manifest = artefacts.load(artefact)
    tenant = TenantId(manifest.tenant or "t")
    counts = dict.fromkeys(("as approved", "reworded", "refused, so as approved", "too slow, so as approved"), 0)
    lost = 0
    times: list[float] = []

    async def work(local: LocalModel, client: Any) -> None:
        nonlocal lost
        tuned = TunedModels(client(local.chosen))
        tuned.serve([Tuned(tenant=tenant, adapter="it", label="it@1", prefix=manifest.prefix, system=manifest.system)])
        phrasing = Phrasing(None, tuned=tuned, tuned_seconds=10)
        talk = Conversation(id=ConversationId("c"), tenant=tenant, customer=None, opened_at=datetime.now(UTC))
        for pair in load_faq(faq):
            text = " ".join(pair.answer.split())
            draft = Draft(route=Route.FAQ, sentences=(Sentence(text=text, proofs=(text,)),), confidence=0.9)
            said, events = await phrasing.of(by_rules(pair.question, count=1)[0], draft, talk)
            times.extend(e.milliseconds for e in events if isinstance(e, ModelPhrased))
            refused = any(isinstance(e, DraftRejected) for e in events)
            slow = "too slow, so as approved" if not events else "as approved"
            counts["refused, so as approved" if refused else slow if said.text == text else "reworded"] += 1
            lost += [q.text for q in quantities(said.text)] != [q.text for q in quantities(text)]

    await served(base, [Adapter(id="it", path=artefact / artefacts.ADAPTER)], folder, work)
    for name, count in counts.items():
        print(f"{'approved answers by the tuned model: ' + name:60} {count}")
    print(f"{'replies that lost or changed an amount (bar 0)':60} {lost} of {sum(counts.values())}")
    print(f"{'time of the tuned model, p50':60} {statistics.median(times) if times else 0:.0f} ms")


def equality(base: Path, artefact: Path | None, folder: Path) -> None:
    """The table of export equality."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("peft") is None:
        print("export equality: not measured, for torch and peft are not installed (pip install 'frontdesk[train]')")
        return
    from frontdesk.training.bases import base_folder

    plain = base_folder(str(base), configuration.load().cache)
    if artefact is None:
        artefact = _made(base, plain, folder)
    start = time.perf_counter()
    found = artefacts.verify(artefact, QUESTIONS[:3], base=base, base_folder=plain, tokens=16)
    print(f"{'F16 base + adapter, equal greedy tokens (bar 1.0)':60} {found.exact:.3f} of {found.tokens}")
    print(f"{'4-bit base + adapter, equal greedy tokens (bar .9)':60} {found.quantised:.3f}")
    print(f"{'replies that differ from the untrained base':60} {found.changed:.2f}  ({time.perf_counter() - start:.0f} s)")


def _made(base: Path, plain: Path, folder: Path) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(3)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn_like(weight) * 0.02
    model.save_pretrained(folder / "peft")
    manifest = artefacts.Manifest(name="random", tenant="", recipe="none", base="x", base_sha256=artefacts.sha256(base))
    return artefacts.export(folder / "peft", base, folder / "artefact", manifest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.adapters", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=3)
    parser.add_argument("--artefact", type=Path, help="an exported adapter of the embedded base model")
    parser.add_argument("--only", choices=("isolation", "equality", "wording"))
    parser.add_argument("--faq", type=Path, help="with --artefact: the tenant folder whose FAQ it was trained on")
    given = parser.parse_args(arguments)
    base = registry.pull("smollm2-135m-instruct", configuration.load().cache)
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
        if given.only in (None, "isolation"):
            asyncio.run(isolation(base, given.requests, given.tokens, Path(folder)))
        if given.only in (None, "equality"):
            equality(base, given.artefact, Path(folder))
        if given.only in (None, "wording") and given.artefact and given.faq:
            asyncio.run(wording(base, given.artefact, given.faq, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
