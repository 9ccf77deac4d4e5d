"""The one training loop: a base model, samples, parameters in; an adapter, checkpoints and curves out. Refuses a loss that is no number.

    base = base_folder("smollm2-135m-instruct", cache)             # a plain folder of weights, made once from the GGUF
    outcome = fine_tune(base=base, samples=samples, held_out=held, parameters=Parameters(), out=run_folder)

Every step's rows follow from (seed, epoch, step) alone, so a run that was killed goes on from its checkpoint and ends with the same
weights as one that was not. Rows are packed: samples lie one after another without padding, each sees only itself and the beginning
that all share (the system prompt), which is computed once per row. Logits are made only where something is learnt.

Started by torchrun or accelerate, each process takes its share of every step's rows and the gradients are summed.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontdesk.errors import BadInput, TrainingFailed
from frontdesk.training.bases import base_folder, require_packages
from frontdesk.training.packing import Encoded, Sample, pack, plan

if TYPE_CHECKING:
    from frontdesk.training.learner import Learner

__all__ = ["Epoch", "Outcome", "Parameters", "Sample", "Step", "base_folder", "fine_tune"]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a run may set. The defaults are those of the `faq` recipe."""

    method: str = "lora"
    """`lora`, or `full`: every weight."""
    epochs: int = 8
    rate: float = 1e-3
    second_rate: float = 1.0
    """How many times faster the second matrix of each low-rank update learns."""
    batch: int = 16
    """Samples per step."""
    rank: int = 16
    alpha: int = 32
    layers: int = 0
    """So many layers at the top learn, and what the others make of a sample is worked out once; 0: all learn (LoRA only)."""
    commonest: int = 0
    """While learning, a token is weighed against all that are taught and so many of the commonest; 0: the whole vocabulary (LoRA only)."""
    dropout: float = 0.0
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of the steps in which the rate rises; it falls as a cosine afterwards."""
    clip: float = 1.0
    length: int = 1024
    """Tokens per sample at most; longer ones are refused before training."""
    row: int = 320
    """Tokens per packed row."""
    per_group: int = 0
    """Samples of each group (the wordings of one fact) seen per epoch, other ones each time; 0: all."""
    seed: int = 0
    patience: int = 2
    """Epochs without a better score after which a run ends."""
    target: float = 2.0
    """Score at which a run ends at once; above 1, a recall never reaches it."""
    save_every: int = 0
    """Steps between checkpoints within an epoch; 0: at the end of each epoch only."""
    dtype: str = "auto"
    """`bfloat16`, `float32`, or `auto`: the faster of the two as measured here."""
    device: str = "auto"
    threads: int = 0
    """0: as many as torch finds."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of training. `loss` is the mean per learnt token, `tokens` all tokens so far, `seconds` of training alone."""

    step: int
    steps: int
    epoch: int
    loss: float
    rate: float
    tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass, counted from 1. `score`: what `on_epoch` returned, else minus the held-out loss."""

    epoch: int
    train_loss: float
    held_out_loss: float
    token_accuracy: float
    score: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run left behind. `adapter` holds the weights of `best_epoch`: a PEFT folder, or a whole model after `full`."""

    adapter: Path
    best_epoch: int
    epochs: tuple[Epoch, ...]
    steps: int
    tokens: int
    """Trained tokens; a shared beginning counts for each sample."""
    seconds: float
    """Of training steps alone."""
    processor_seconds: float
    """What the processors worked in that time: on a busy machine the wall clock says little."""
    ended: str
    """`done`, `target`, `patience` or `stopped`."""
    dtype: str
    trainable: int

    @property
    def tokens_per_second(self) -> float:
        """Of the training steps."""
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass(kw_only=True)
class _State:
    """Where a run is; the checkpoint is this and three vectors."""

    epoch: int = 1
    done_in_epoch: int = 0
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    ended: str = ""


def fine_tune(
    *,
    base: Path,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    parameters: Parameters,
    out: Path,
    on_step: Callable[[Step], None] | None = None,
    on_epoch: Callable[[Learner, Epoch], float | None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Train and leave `out/adapter` and `out/curves.jsonl`; goes on from `out/checkpoint` when a run was cut off there.

    `on_epoch` gets the learner (to let it reply) and may return a score, higher is better: the best epoch is what is kept.
    `stop` is asked after each step; True leaves a checkpoint and returns with `ended="stopped"`.
    Raises BadInput for samples that cannot be trained on, TrainingFailed when the loss is no number or memory or disk ran out.
    """
    check(parameters)
    if not samples:
        raise BadInput("there is nothing to learn from: give at least one sample")
    require_packages()
    from frontdesk.training.learner import Learner
    from frontdesk.training.workers import Workers

    workers = Workers.join(parameters.threads)
    learner = Learner(
        base,
        method=parameters.method,
        rank=parameters.rank,
        alpha=parameters.alpha,
        dropout=parameters.dropout,
        dtype=parameters.dtype,
        device=workers.device(parameters.device),
        seed=parameters.seed,
        layers=parameters.layers,
    )
    run = _Run(learner, workers, parameters, out, learner.encode(samples, parameters.length), held_out)
    try:
        return run.go(on_step or (lambda _: None), on_epoch or (lambda _learner, _epoch: None), stop or (lambda: False))
    except OSError as error:
        raise TrainingFailed(f"the run cannot write to {out} ({error}): free some space there; what was saved before is whole") from error
    except (MemoryError, RuntimeError) as error:
        if "alloc" in str(error) or "out of memory" in str(error) or isinstance(error, MemoryError):
            raise TrainingFailed("the run needs more memory than there is: lower `batch` or `length`, or take a smaller model") from error
        raise


def check(parameters: Parameters) -> None:
    """Raises BadInput for a parameter out of its range."""
    p = parameters
    wrong = {
        "method": p.method not in ("lora", "full") and "lora or full",
        "dtype": p.dtype not in ("auto", "bfloat16", "float32") and "auto, bfloat16 or float32",
        "second_rate": not 0 < p.second_rate <= 100 and "above 0 and at most 100",
        "rate": not 0 < p.rate < 1 and "above 0 and below 1",
        "dropout": not 0 <= p.dropout < 1 and "from 0 to below 1",
        "warmup": not 0 <= p.warmup < 1 and "from 0 to below 1",
        **{name: getattr(p, name) < 1 and "1 or more" for name in ("epochs", "batch", "rank", "alpha", "length", "row", "patience")},
        **{name: getattr(p, name) < 0 and "0 or more" for name in ("layers", "commonest")},
    }
    for name, range_ in wrong.items():
        if range_:
            raise BadInput(f"the parameter `{name}` is {getattr(p, name)!r}: it must be {range_}")


class _Run:
    def __init__(
        self, learner: Learner, workers: Any, parameters: Parameters, out: Path, samples: Sequence[Encoded], held: Sequence[Sample]
    ) -> None:
        import torch

        self.learner, self.workers, self.parameters, self.out = learner, workers, parameters, out
        self.samples, self.held = samples, held
        self.state = _State()
        learner.hasten(parameters.second_rate)
        self.master = torch.nn.Parameter(learner.vector())
        self.optimiser = torch.optim.AdamW([self.master], lr=parameters.rate, weight_decay=parameters.weight_decay, fused=True)
        first = plan(samples, seed=parameters.seed, epoch=1, batch=parameters.batch, per_group=parameters.per_group)
        self.steps = len(first.steps) * parameters.epochs
        if parameters.commonest:
            learner.narrow(samples, parameters.commonest)
        if parameters.layers or any(s.anchor for s in samples):
            learner.keep(row for chosen in self._to_come() for row in pack(chosen, row=parameters.row))
        out.mkdir(parents=True, exist_ok=True)
        self._restore()

    def go(self, on_step: Callable[[Step], None], on_epoch: Callable[[Learner, Epoch], float | None], stop: Callable[[], bool]) -> Outcome:
        state, parameters = self.state, self.parameters
        while state.epoch <= parameters.epochs and not state.ended:
            todo = plan(self.samples, seed=parameters.seed, epoch=state.epoch, batch=parameters.batch, per_group=parameters.per_group).steps
            for chosen in todo[state.done_in_epoch :]:
                self._step([self.samples[i] for i in chosen])
                rate = self.optimiser.param_groups[0]["lr"]
                step = Step(
                    step=state.step,
                    steps=self.steps,
                    epoch=state.epoch,
                    loss=state.losses[-1],
                    rate=rate,
                    tokens=state.tokens,
                    seconds=state.seconds,
                )
                self._note(step)
                on_step(step)
                if self.workers.any(stop()):
                    self._checkpoint()
                    return self._outcome("stopped")
                if parameters.save_every and state.step % parameters.save_every == 0:
                    self._checkpoint()
            self._end_epoch(on_epoch)
        return self._outcome(state.ended or "done")

    def _to_come(self) -> Iterator[list[Encoded]]:
        """The samples of every step of the whole run."""
        p = self.parameters
        for epoch in range(1, p.epochs + 1):
            for chosen in plan(self.samples, seed=p.seed, epoch=epoch, batch=p.batch, per_group=p.per_group).steps:
                yield [self.samples[i] for i in chosen]

    def _step(self, chosen: Sequence[Encoded]) -> None:
        import torch

        state, parameters = self.state, self.parameters
        begun, worked = time.perf_counter(), time.process_time()
        self.learner.model.train()
        if parameters.dropout:
            torch.manual_seed(parameters.seed * 1_000_003 + state.step)
        rows = self.workers.share(pack(chosen, row=parameters.row))
        total, count = 0.0, 0
        for group in self.learner.groups(rows):
            loss, learnt = self.learner.learning_sums(group)
            loss.backward()  # type: ignore[no-untyped-call]
            if learnt:
                total, count = total + float(loss.detach()), count + learnt
        gradient, total, count = self.workers.sum(self.learner.gradient(), total, count)
        mean = total / count
        if not math.isfinite(mean):
            raise TrainingFailed(
                f"the loss is not a number any more at step {state.step + 1} (it was {state.losses[-1] if state.losses else 0:.3f}): "
                f"lower `rate` (now {parameters.rate:g}) and start again; the last checkpoint is from before"
            )
        gradient /= count
        norm = float(gradient.norm())
        if parameters.clip and norm > parameters.clip:
            gradient *= parameters.clip / norm
        self.optimiser.param_groups[0]["lr"] = _rate(parameters, state.step, self.steps)
        self.master.grad = gradient
        self.optimiser.step()
        self.learner.put(self.master.detach())
        state.step += 1
        state.done_in_epoch += 1
        state.tokens += sum(len(s.tokens) for s in chosen)
        state.losses.append(mean)
        state.seconds += time.perf_counter() - begun
        state.processor_seconds += time.process_time() - worked

    def _end_epoch(self, on_epoch: Callable[[Learner, Epoch], float | None]) -> None:
        """Evaluate, keep the best, save; decide whether the run ends here."""
        state, parameters = self.state, self.parameters
        begun = time.perf_counter()
        loss, accuracy = self.learner.losses(self.held)
        here = Epoch(
            epoch=state.epoch,
            train_loss=sum(state.losses) / len(state.losses),
            held_out_loss=loss,
            token_accuracy=accuracy,
            score=-loss if self.held else -state.losses[-1],
            seconds=time.perf_counter() - begun,
        )
        if (score := on_epoch(self.learner, here)) is not None:
            here = replace(here, score=score, seconds=time.perf_counter() - begun)
        best = max((e.score for e in state.epochs), default=-math.inf)
        state.epochs.append(here)
        self._note(here)
        if here.score > best:
            state.best_epoch = state.epoch
            self._save_adapter()
        if here.score >= parameters.target:
            state.ended = "target"
        elif here.epoch - state.best_epoch >= parameters.patience:
            state.ended = "patience"
        state.epoch, state.done_in_epoch, state.losses = state.epoch + 1, 0, []
        self._checkpoint()

    # --- files ---

    def _note(self, event: Step | Epoch) -> None:
        if self.workers.first:
            with (self.out / "curves.jsonl").open("a", encoding="utf-8") as file:
                kind = "step" if isinstance(event, Step) else "epoch"
                file.write(json.dumps({"kind": kind, **asdict(event)}) + "\n")

    def _save_adapter(self) -> None:
        if self.workers.first:
            part = self.out / "adapter.part"
            shutil.rmtree(part, ignore_errors=True)
            self.learner.save(part)
            _swap(part, self.out / "adapter")

    def _checkpoint(self) -> None:
        import torch
        from safetensors.torch import save_file

        if not self.workers.first:
            return
        part = self.out / "checkpoint.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        kept = self.optimiser.state.get(self.master, {})
        blank = torch.zeros_like(self.master)
        moments = {name: kept.get(name, blank).detach().contiguous().clone() for name in ("exp_avg", "exp_avg_sq")}
        save_file({"master": self.master.detach().clone(), **moments}, part / "weights.safetensors")
        told = {"parameters": asdict(self.parameters), "state": asdict(self.state)}
        (part / "state.json").write_text(json.dumps(told), encoding="utf-8")
        _swap(part, self.out / "checkpoint")

    def _restore(self) -> None:
        from safetensors.torch import load_file

        folder = next((f for f in (self.out / "checkpoint", self.out / "checkpoint.old") if (f / "state.json").is_file()), None)
        if folder is None:
            (self.out / "curves.jsonl").unlink(missing_ok=True)
            return
        told = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        then, now = told["parameters"], json.loads(json.dumps(asdict(self.parameters)))
        if changed := sorted(k for k in now if now[k] != then.get(k) and k not in ("threads", "patience", "target", "save_every")):
            raise BadInput(f"{folder} was made with another {', '.join(changed)}: resume with the same parameters, or delete the run first")
        state = told["state"]
        self.state = _State(**{**state, "epochs": [Epoch(**e) for e in state["epochs"]]})
        vectors = load_file(folder / "weights.safetensors")
        if vectors["master"].numel() != self.master.numel():
            raise BadInput(f"{folder} belongs to another base model: delete the run and start again")
        self.master.data.copy_(vectors["master"])
        self.learner.put(self.master.detach())
        import torch

        step = torch.tensor(float(self.state.step))
        moments = {name: vectors[name].to(self.master.device) for name in ("exp_avg", "exp_avg_sq")}
        self.optimiser.state[self.master] = {"step": step.to(self.master.device), **moments}
        _cut_curves(self.out / "curves.jsonl", self.state.step, len(self.state.epochs))

    def _outcome(self, ended: str) -> Outcome:
        state = self.state
        return Outcome(
            adapter=self.out / "adapter",
            best_epoch=state.best_epoch,
            epochs=tuple(state.epochs),
            steps=state.step,
            tokens=state.tokens,
            seconds=state.seconds,
            processor_seconds=state.processor_seconds,
            ended=ended,
            dtype=str(self.learner.dtype).removeprefix("torch."),
            trainable=self.learner.trainable,
        )


def _rate(parameters: Parameters, step: int, steps: int) -> float:
    warm = max(1, round(steps * parameters.warmup))
    if step < warm:
        return parameters.rate * (step + 1) / warm
    return parameters.rate * max(0.02, 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


def _swap(part: Path, place: Path) -> None:
    """Put a finished folder in its place; at every moment the old one or the new one is whole."""
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    part.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _cut_curves(path: Path, step: int, epochs: int) -> None:
    """Lines after the checkpoint go: they are written again."""
    if path.is_file():
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with_kind: dict[str, Any] = json.loads(line) if line.endswith("}") else {"kind": "cut"}
            if (with_kind["kind"] == "step" and with_kind["step"] <= step) or (
                with_kind["kind"] == "epoch" and with_kind["epoch"] <= epochs
            ):
                rows.append(line)
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
