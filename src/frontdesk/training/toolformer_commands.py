"""`frontdesk train toolformer texts|annotate|sample|execute|filter|dataset|tune`: one step each, in one folder, statistics after each.

Every step reads the file of the step before and writes its own, with what made it in `about.json`. Results go to stdout, progress to stderr.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from frontdesk import settings as configuration
from frontdesk.domain.tenancy import Tenant
from frontdesk.errors import BadInput
from frontdesk.settings import Settings

Tenants = Annotated[Path | None, typer.Option("--tenants", help="Folder that holds one folder per tenant [FRONTDESK_TENANTS].")]
Out = Annotated[Path, typer.Option("--out", help="Folder of this pipeline: each step reads and writes here.")]
Name = Annotated[str, typer.Argument(help="Tenant id.")]
Seed = Annotated[int, typer.Option(help="Draws follow from it.")]

app = typer.Typer(no_args_is_help=True, help="Teach a model a tenant's tools from texts, as in the Toolformer paper.")


@app.command("texts")
def make_texts(
    tenant: Name,
    out: Out,
    count: Annotated[int, typer.Option(help="Questions with replies made from the catalog.")] = 200,
    faq: Annotated[int, typer.Option(help="FAQ pairs beside them.")] = 20,
    seed: Seed = 0,
    tenants: Tenants = None,
) -> None:
    """Write texts from the tenant's catalog and FAQ; or put your own `texts.jsonl` there: id, question, text, source."""
    from frontdesk.knowledge.tenants import load_faq
    from frontdesk.training import toolformer
    from frontdesk.training.toolformer_texts import texts_from_catalog, texts_from_faq

    work = _Work(tenant, out, tenants)
    rows = texts_from_catalog(work.operations, count=count, seed=seed, today=work.today)
    rows += texts_from_faq(load_faq(work.tenant.folder), count=faq, seed=seed) if faq and work.tenant.folder else []
    if not rows:
        raise BadInput(f"{tenant} has neither tools that say what they answer nor an FAQ: describe the responses in its OpenAPI document")
    toolformer.write_rows(out / "texts.jsonl", rows)
    work.done("texts", {"texts": len(rows), "from the catalog": sum(r.source == "catalog" for r in rows)}, seed=seed)


@app.command()
def annotate(tenant: Name, out: Out, seed: Seed = 0, tenants: Tenants = None) -> None:
    """Step 1: make each tool's prompt, and choose the texts that may be about it."""
    from frontdesk.training import toolformer

    work = _Work(tenant, out, tenants)
    rows = toolformer.annotate(list(work.texts.values()), work.operations, today=work.today, seed=seed)
    toolformer.write_rows(out / "prompts.jsonl", rows)
    work.done("annotate", {"texts": len(work.texts), "texts shown": len(rows), "tools": len(work.operations)}, seed=seed)


@app.command()
def sample(
    tenant: Name,
    out: Out,
    annotator: Annotated[str, typer.Option(help="model (itself), endpoint (FRONTDESK_LLM_URL) or catalog.")] = "model",
    tau_s: Annotated[float, typer.Option("--tau-s", help="Least probability that a call begins.")] = 0.05,
    k: Annotated[int, typer.Option(help="Most places per text.")] = 5,
    m: Annotated[int, typer.Option(help="Calls sampled at each place.")] = 5,
    seed: Seed = 0,
    tenants: Tenants = None,
) -> None:
    """Step 2: find places for calls, and calls."""
    from frontdesk.training import toolformer

    work, knobs = _Work(tenant, out, tenants), toolformer.Knobs(tau_s=tau_s, k=k, m=m, seed=seed)
    if annotator == "catalog":
        found, counts = toolformer.sample_from_catalog(list(work.texts.values()), work.operations, knobs, today=work.today)
    elif annotator == "model":
        rows = toolformer.read_rows(out / "prompts.jsonl")
        with work.progress("sampling") as step:
            found, counts = toolformer.sample(rows, work.texts, work.by_name, work.causal(), knobs, step)
    elif annotator == "endpoint":
        rows = toolformer.read_rows(out / "prompts.jsonl")
        found, counts = asyncio.run(_from_endpoint(work, rows))
    else:
        raise BadInput(f"there is no annotator {annotator!r}: say model, endpoint or catalog")
    toolformer.write_rows(out / "candidates.jsonl", found)
    work.done("sample", {**counts, "candidates": len(found)}, annotator=annotator, **asdict(knobs))


@app.command()
def execute(
    tenant: Name,
    out: Out,
    live: Annotated[bool, typer.Option("--live", help="Carry out reads at the tenant's API; acts are dry runs always.")] = False,
    customer: Annotated[str, typer.Option(help="Read as this signed-in customer.")] = "",
    tenants: Tenants = None,
) -> None:
    """Step 3: get each call's result."""
    from frontdesk.training import toolformer

    work = _Work(tenant, out, tenants)
    candidates = [toolformer.Candidate(**row) for row in toolformer.read_rows(out / "candidates.jsonl")]
    done, counts = asyncio.run(_executed(work, candidates, live=live, customer=customer))
    toolformer.write_rows(out / "executed.jsonl", done)
    work.done("execute", counts, live=live)


@app.command("filter")
def filter_(
    tenant: Name,
    out: Out,
    tau_f: Annotated[float, typer.Option("--tau-f", help="Least gain in loss, in nats.")] = 1.0,
    tenants: Tenants = None,
) -> None:
    """Step 4: keep the calls whose results make the text behind them likelier."""
    from frontdesk.training import toolformer

    work = _Work(tenant, out, tenants)
    candidates = [toolformer.Candidate(**row) for row in toolformer.read_rows(out / "executed.jsonl")]
    with work.progress("filtering") as step:
        kept, judged, counts = toolformer.filtered(candidates, work.texts, work.causal(), toolformer.Knobs(tau_f=tau_f), progress=step)
    toolformer.write_rows(out / "judged.jsonl", judged)
    toolformer.write_rows(out / "kept.jsonl", kept)
    work.done("filter", counts, tau_f=tau_f)


@app.command()
def dataset(
    tenant: Name,
    out: Out,
    calls: Annotated[int, typer.Option(help="Most calls in one text.")] = 1,
    plain: Annotated[int, typer.Option(help="FAQ texts without calls beside them.")] = 0,
    tenants: Tenants = None,
) -> None:
    """Step 5: write the texts with their calls and results, the results not to be learnt."""
    from frontdesk.training import toolformer

    work = _Work(tenant, out, tenants)
    kept = [toolformer.Candidate(**row) for row in toolformer.read_rows(out / "kept.jsonl")]
    rows = toolformer.dataset(kept, work.texts, most=calls, plain=[t for t in work.texts.values() if t.source == "faq"][:plain])
    if not rows:
        raise BadInput("no call passed the filter: lower --tau-f, give more texts, or take candidates from the catalog")
    toolformer.write_rows(out / "dataset.jsonl", rows)
    work.done("dataset", {"texts": len(rows), "calls": sum(len(r["calls"]) for r in rows)})


@app.command()
def tune(
    tenant: Name,
    out: Out,
    epochs: Annotated[int, typer.Option(help="Most passes over the texts.")] = 6,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    held: Annotated[float, typer.Option(help="Share of texts held out.")] = 0.15,
    seed: Seed = 0,
    tenants: Tenants = None,
) -> None:
    """Fine-tune on the dataset, see what the model writes for held-out texts without a grammar, and export the adapter."""
    from frontdesk.training.toolformer_tuning import tuned

    work = _Work(tenant, out, tenants)
    with work.progress("training") as step:
        figures = tuned(work, epochs=epochs, rate=rate, held=held, seed=seed, progress=step)
    work.done("tune", figures, epochs=epochs, rate=rate, held=held, seed=seed)


class _Work:
    """A tenant with its tools, and the folder of one pipeline."""

    def __init__(self, tenant: str, out: Path, tenants: Path | None) -> None:
        from frontdesk.knowledge.tenants import load_tenants
        from frontdesk.tools.catalog import load_catalog

        self.settings: Settings = configuration.load({"tenants": tenants})
        served = {str(t.id): t for t in load_tenants(self.settings.tenants)}
        if tenant not in served:
            raise BadInput(f"there is no tenant {tenant!r}: this folder serves {', '.join(sorted(served))}")
        self.tenant: Tenant = served[tenant]
        self.out = out
        self.catalog = load_catalog(self.tenant)
        self.operations = self.catalog.operations
        if not self.operations:
            raise BadInput(f"{tenant} has no tools: name an OpenAPI document under `tools:` in its tenant.yaml")
        self.by_name = {o.name: o for o in self.operations}
        self._begun = time.monotonic()

    @property
    def today(self) -> date:
        """The day that the pipeline began: dates drawn and dates read must agree."""
        return date.fromisoformat(str(self.about.setdefault("today", datetime.now(UTC).date().isoformat())))

    @property
    def about(self) -> dict[str, Any]:
        """What made the files of this folder."""
        if not hasattr(self, "_about"):
            path = self.out / "about.json"
            self._about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return self._about

    @property
    def texts(self) -> Mapping[str, Any]:
        """The texts by id."""
        from frontdesk.training.toolformer import read_rows
        from frontdesk.training.toolformer_texts import Text

        try:
            found = [Text(**row) for row in read_rows(self.out / "texts.jsonl")]
        except TypeError:
            raise BadInput(f"{self.out / 'texts.jsonl'}: each line needs id, question, text and source, and nothing else") from None
        return {t.id: t for t in found}

    @property
    def base(self) -> Path:
        """The base model as a plain folder."""
        from frontdesk.training.bases import base_folder

        return base_folder(self.settings.llm_model, self.settings.cache)

    def causal(self, adapter: Path | None = None) -> Any:
        """The base model, looked at token by token."""
        from frontdesk.training.causal import Causal

        return Causal(self.base, adapter=adapter, threads=self.settings.compute_threads)

    def progress(self, words: str) -> _Bar:
        """A bar on stderr."""
        return _Bar(words)

    def done(self, step: str, figures: Mapping[str, Any], **how: Any) -> None:
        """Print the statistics of a step and keep them with what made them."""
        seconds = round(time.monotonic() - self._begun, 1)
        _ = self.today
        about = {**self.about, "tenant": str(self.tenant.id), "model": self.settings.llm_model}
        about[step] = {**how, "seconds": seconds, "figures": dict(figures)}
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "about.json").write_text(json.dumps(about, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
        for name, value in figures.items():
            typer.echo(f"{name:32} {value}")
        typer.echo(f"{step}: {seconds:g} s", err=True)


class _Bar:
    def __init__(self, words: str) -> None:
        from rich.console import Console

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._words = words

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        task = self._bar.add_task(self._words, total=None)
        return lambda done, all_: self._bar.update(task, completed=done, total=all_)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


async def _executed(work: _Work, candidates: Any, *, live: bool, customer: str) -> Any:
    from frontdesk.errors import FrontdeskError
    from frontdesk.tools.calling import ToolCaller, http_client
    from frontdesk.training import toolformer

    if not live:
        return await toolformer.execute(candidates, work.by_name, today=work.today)
    claims = {"customer.id": customer, "sub": customer} if customer else {}
    async with http_client() as http:
        caller = ToolCaller(work.catalog, http=http, seconds=work.settings.tool_seconds)

        async def read(operation: Any, arguments: Mapping[str, Any]) -> Any:
            try:
                outcome = await caller.call(operation, arguments, claims)
            except FrontdeskError:
                return None
            return outcome.data if outcome.ok else None

        return await toolformer.execute(candidates, work.by_name, today=work.today, read=read)


async def _from_endpoint(work: _Work, rows: Any) -> Any:
    from frontdesk.models.client import ChatClient
    from frontdesk.models.protocols import ChatRequest, complete
    from frontdesk.training import toolformer

    s = work.settings
    if not s.llm_url:
        raise BadInput("the annotator `endpoint` needs FRONTDESK_LLM_URL: set it to an OpenAI-compatible server")
    client = ChatClient(s.llm_url, s.llm_key, s.llm_model, first_token=60, between_tokens=30, total=180, slots=4, queue=8)
    try:

        async def ask(prompt: str) -> str:
            return await complete(client, ChatRequest(messages=[{"role": "user", "content": prompt}], max_tokens=256, stop=("\n",)))

        return await toolformer.sample_from_endpoint(rows, work.texts, work.by_name, ask)
    finally:
        await client.close()
