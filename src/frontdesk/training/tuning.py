"""The recipes `faq` and `dialogue`: fine-tune on examples, watch recall after each epoch, judge what came out, export what passes.

The score that decides which epoch is kept, and when to stop, is the share of key facts told in wordings kept apart for it (`tuning`);
the verdict is given on others (`held_out`), which nothing ever looked at.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.training import curves, preparing
from frontdesk.training.bases import base_folder, source_digest
from frontdesk.training.data import Example, Voice
from frontdesk.training.evaluating import Evaluation, Judge, energy
from frontdesk.training.facts import recall
from frontdesk.training.finetune import Epoch, Outcome, Step, fine_tune
from frontdesk.training.memory import Estimate, estimate, require_disk
from frontdesk.training.packing import Sample
from frontdesk.training.worker import Desk, Stopped

if TYPE_CHECKING:
    from frontdesk.training.learner import Learner

PROBES = 24
"""Questions asked after an epoch."""
PROBE_LOSSES = 24
WORTH_ASKING = 0.95
"""Token accuracy from which on they are asked: below, an answer of fifty tokens holds a mistake nearly always, and asking takes time."""
VERIFIED = 5
"""Prompts on which an export is compared with transformers."""


async def tune(desk: Desk) -> None:
    """The whole run. Raises Stopped, BadInput, TrainingFailed."""
    run = desk.run
    examples, voice, told = preparing.load(desk.folder)
    desk.say("unpacking the base model")
    base = base_folder(run.model, desk.settings.cache)
    needed = estimate(base, run.parameters)
    require_disk(desk.folder, needed)
    desk.say(f"this run {needed}")
    from frontdesk.training.learning import Template, anchors
    from frontdesk.training.workers import first

    template = Template(base)
    learnt = [e for e in examples if e.split == "train"]
    held_fast: list[Sample] = []
    if run.data.replay:
        groups = len({e.group or e.question for e in learnt})
        count = max(1, round(run.data.replay * groups))
        desk.say("asking the base model what it must not forget")
        held_fast = anchors(base, count, dtype=_dtype(run.parameters.dtype))
        if run.parameters.method == "full":  # nothing of the base model is left to compare with: its answers are taught
            held_fast = [dataclasses.replace(s, anchor=False) for s in held_fast]
    outcome = fine_tune(
        base=base,
        samples=[*template.samples(learnt), *held_fast],
        held_out=template.samples(_spread([e for e in examples if e.split == "tuning"], PROBE_LOSSES)),
        parameters=run.parameters,
        out=desk.folder,
        on_step=lambda step: _show(desk, step),
        on_epoch=_Probe(desk, template, voice, examples),
        stop=desk.stop,
    )
    if outcome.ended == "stopped":
        raise Stopped
    if not first():
        return
    evaluation = await _judge(desk, template, outcome, examples, voice, told, needed)
    _write_report(desk.folder, run.to_json(), outcome, evaluation, told)
    asked = list(run.eval_prompts) or [e.question for e in _spread([e for e in examples if e.split == "held_out"], 3)]
    evaluation = await asyncio.to_thread(_export, desk, template, voice, told, evaluation, base, asked[:VERIFIED])
    _write_report(desk.folder, run.to_json(), outcome, evaluation, told)
    _tell(desk, evaluation)
    desk.say("done")


class _Probe:
    """After each epoch: the recall that steers the run, and the replies to `eval_prompts`, kept with the curves.

    An epoch too early to be asked has minus its loss as its score, which is less than any recall.
    """

    def __init__(self, desk: Desk, template: Any, voice: Voice, examples: Sequence[Example]) -> None:
        self._desk, self._voice, self._template = desk, voice, template
        self._asked = _spread([e for e in examples if e.split == "tuning" and e.facts], PROBES)
        self._prompts = [template.prompt(e.messages[:-1]) for e in self._asked]
        self._wished = [template.prompt(voice.ask(p)) for p in desk.run.eval_prompts]

    def __call__(self, learner: Learner, epoch: Epoch) -> float | None:
        self._desk.beat(f"evaluating epoch {epoch.epoch}")
        asked = self._prompts if epoch.token_accuracy >= WORTH_ASKING else []
        replies = learner.reply([*asked, *self._wished], tokens=112)
        score = recall([e.facts for e in self._asked], replies[: len(asked)])[0] if asked else None
        said = dict(zip(self._desk.run.eval_prompts, replies[len(asked) :], strict=True))
        with (self._desk.folder / "samples.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch.epoch, "recall": score, "replies": said}, ensure_ascii=False) + "\n")
        told = f"recall {score:.3f}" if score is not None else f"token accuracy {epoch.token_accuracy:.3f}"
        self._desk.say(f"epoch {epoch.epoch}: train loss {epoch.train_loss:.3f}, {told}")
        self._desk.beat("training", score=score)
        return score


def _show(desk: Desk, step: Step) -> None:
    speed = step.tokens / step.seconds if step.seconds else 0
    desk.beat("training", step=step.step, steps=step.steps, epoch=step.epoch, loss=step.loss, tokens_per_second=speed, seconds=step.seconds)


async def _judge(
    desk: Desk, template: Any, outcome: Outcome, examples: Sequence[Example], voice: Voice, told: Any, needed: Estimate
) -> Evaluation:
    import torch

    from frontdesk.training.learner import Learner

    desk.say("loading what was learnt")
    parameters = desk.run.parameters
    full = parameters.method == "full"
    learner = Learner(
        outcome.adapter if full else base_folder(desk.run.model, desk.settings.cache),
        method="none" if full else "lora",
        rank=parameters.rank,
        alpha=parameters.alpha,
        dropout=0.0,
        dtype=outcome.dtype,
        device=parameters.device,
        seed=parameters.seed,
        adapter=None if full else outcome.adapter,
    )
    embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", desk.settings.cache), threads=1)
    judge = Judge(learner, template, examples, voice, embedder, desk.say)
    gpus = torch.cuda.device_count()
    cost = {
        "seconds": outcome.seconds,
        "processor_seconds": outcome.processor_seconds,
        "tokens": float(outcome.tokens),
        "tokens_per_second": outcome.tokens_per_second,
        "watt_hours": energy(outcome.seconds, cores=torch.get_num_threads(), gpus=gpus),
        "memory_gib": needed.needed / 2**30,
    }
    counts = {
        "groups": told["groups"],
        "train": told["examples"]["train"],
        **{name: len(told[name]) for name in ("without_facts", "duplicates", "conflicts")},
    }
    epochs = [dataclasses.asdict(e) for e in outcome.epochs if e.epoch == outcome.best_epoch]
    return await judge.judge(desk.run.gates, cost=cost, epochs=epochs, data=counts)


def _tell(desk: Desk, evaluation: Evaluation) -> None:
    """The verdict into the log."""
    for side in evaluation.sides:
        desk.say(f"{side.name}: recall {side.recall:.3f}, complete {side.complete:.3f} ({side.questions} questions)")
    desk.say(evaluation.verdict)


def _write_report(folder: Path, run: Any, outcome: Outcome, evaluation: Evaluation, data: Any) -> None:
    told = {
        "run": run,
        "outcome": {**dataclasses.asdict(outcome), "adapter": str(outcome.adapter), "tokens_per_second": outcome.tokens_per_second},
        "data": data,
        **evaluation.to_json(),
    }
    part = folder / "report.json.part"
    part.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
    part.rename(folder / "report.json")
    if picture := curves.svg(curves.read(folder / "curves.jsonl"), title=folder.name):
        (folder / "curves.svg").write_text(picture, encoding="utf-8")


def _export(desk: Desk, template: Any, voice: Voice, told: Any, evaluation: Evaluation, base: Path, asked: Sequence[str]) -> Evaluation:
    """Beside the run as `export/`, for `frontdesk models deploy`; gives the evaluation with the export's own gates.

    Exported twice: what the comparison with transformers found belongs into the manifest. A full model, and an adapter of a base that is
    no GGUF, stay as they are.
    """
    run = desk.run
    if run.parameters.method != "lora":
        return evaluation
    from frontdesk.training.artefacts import Manifest, export, verify

    source = Path(run.model) if Path(run.model).exists() else registry.pull(run.model, desk.settings.cache)
    if source.is_dir():
        desk.say("the base is no GGUF: the adapter stays a PEFT folder")
        return evaluation
    manifest = Manifest(
        name=run.name,
        tenant=run.tenant,
        recipe=run.recipe,
        base=run.model,
        base_sha256=source_digest(base),
        prefix=voice.prefix.format(company=voice.company) if run.recipe == "faq" else "",
        system=voice.system_prompt,
        template_sha256=template.sha256,
        data_sha256=told["sha256"],
    )
    out = desk.folder / "export"
    desk.say("exporting the adapter")
    export(desk.folder / "adapter", source, out, _with_figures(manifest, evaluation))
    desk.say("comparing the export with transformers, token by token")
    found = verify(out, asked, base=source, base_folder=base, threads=max(1, run.parameters.threads))
    gates = {
        "export_equality": {"value": found.exact, "bar": 1.0, "passed": found.exact == 1.0},
        "export_on_4_bits": {"value": found.quantised, "bar": 0.9, "passed": found.quantised >= 0.9},
        "differs_from_base": {"value": found.changed, "bar": 0.0, "passed": found.changed > 0},
    }
    evaluation = dataclasses.replace(evaluation, gates={**evaluation.gates, **gates})
    export(desk.folder / "adapter", source, out, _with_figures(manifest, evaluation))
    return evaluation


def _with_figures(manifest: Any, evaluation: Evaluation) -> Any:
    figures = {k: v for k, v in evaluation.figures.items() if math.isfinite(v)}
    return dataclasses.replace(manifest, figures={**figures, "gates": evaluation.gates, "verdict": evaluation.verdict})


def _dtype(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import torch

    from frontdesk.training.learner import fastest_dtype

    return fastest_dtype(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _spread(examples: Sequence[Example], count: int) -> list[Example]:
    if len(examples) <= count:
        return list(examples)
    return [examples[i * len(examples) // count] for i in range(count)]
