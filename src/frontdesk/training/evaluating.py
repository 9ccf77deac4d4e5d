"""Whether a trained model may be shipped: measured on wordings it never saw, beside the base model and beside retrieval. Trusts no loss.

The report says in plain words `ship` or `do not ship`, and why. Each of the pitfalls that people warn of (forgetting, over- and
underfitting, poor data, time, cost) has a figure. Facts must not leak: under another company's prompt the adapter usually still tells
them, so that figure decides nothing but is printed: what fences tenants off is that an adapter is bound to its tenant in code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from frontdesk.models.protocols import Embedder
from frontdesk.training.data import Example, Voice, general
from frontdesk.training.facts import recall
from frontdesk.training.packing import Sample
from frontdesk.training.runfile import Gates

if TYPE_CHECKING:
    from frontdesk.training.learner import Learner
    from frontdesk.training.learning import Template

STRANGER = "Halden Outdoor Supplies"
"""An invented company: under its prompt the tenant's facts have no business."""
PROBE = 80
"""Questions for figures that gate nothing."""
WATTS_PER_CORE = 10.0
WATTS_PER_GPU = 400.0
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way of answering, on the same questions."""

    name: str
    recall: float
    """Share of key facts told."""
    complete: float
    """Share of answers with every key fact."""
    questions: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured of one run, and the verdict."""

    sides: tuple[Side, ...]
    figures: Mapping[str, float]
    gates: Mapping[str, Mapping[str, Any]]
    """Name -> value, bar, passed."""
    samples: tuple[Mapping[str, str], ...]
    """Question, right answer, base and tuned reply."""
    pitfalls: tuple[tuple[str, str, str], ...]
    """Pitfall, figure, what it means."""
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Every gate."""
        return all(g["passed"] for g in self.gates.values())

    @property
    def verdict(self) -> str:
        """In plain words."""
        failed = [
            f"{name.replace('_', ' ')} is {_shown(g['value'])}, the bar is {_shown(g['bar'])}"
            for name, g in self.gates.items()
            if not g["passed"]
        ]
        if failed:
            return "do not ship: " + "; ".join(failed)
        return "ship: " + "; ".join(
            f"{name.replace('_', ' ')} is {_shown(g['value'])} (bar {_shown(g['bar'])})" for name, g in self.gates.items()
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "verdict": self.verdict, "passed": self.passed}


class Judge:
    """Evaluates one trained model on the examples that it did not learn from."""

    def __init__(
        self, learner: Learner, template: Template, examples: Sequence[Example], voice: Voice, embedder: Embedder | None, say: Progress
    ) -> None:
        self._learner, self._template, self._voice, self._embedder, self._say = learner, template, voice, embedder, say
        self._held = [e for e in examples if e.split == "held_out" and e.facts]
        self._train = [e for e in examples if e.split == "train" and e.facts and e.origin == "faq"]
        self._originals = [e for e in examples if e.origin == "faq"]

    async def judge(
        self, gates: Gates, *, cost: Mapping[str, float], epochs: Sequence[Mapping[str, Any]], data: Mapping[str, Any]
    ) -> Evaluation:
        """Everything. `cost`: seconds, tokens and the like of the run; `data`: counts of the data report."""
        held, probe = self._held, _spread(self._held, PROBE)
        self._say("asking the tuned model")
        tuned = self._replies(held)
        self._say("asking it without the prefix and as another company")
        plain = self._replies(probe, prefixed=False)
        stranger = self._replies(probe, voice=Voice(company=STRANGER))
        learnt = _spread(self._train, PROBE)
        seen = self._replies(learnt)
        self._say("asking the base model")
        with self._learner.untrained():
            base = self._replies(probe)
        self._say("measuring what was forgotten")
        forgotten = self.forgetting()
        sides = [_side("base model", probe, base), _side("tuned", held, tuned), _side("tuned, without the prefix", probe, plain)]
        if self._embedder is not None and self._originals:
            alone, both = await self.with_retrieval(held, tuned)
            sides += [_side("retrieval alone", held, alone), _side("tuned + retrieval", held, both)]
        by_name = {s.name: s for s in sides}
        seen_recall = recall([e.facts for e in learnt], seen)[0]
        last = epochs[-1] if epochs else {}
        figures = {
            "recall": by_name["tuned"].recall,
            "recall_complete": by_name["tuned"].complete,
            "recall_without_prefix": by_name["tuned, without the prefix"].recall,
            "recall_base": by_name["base model"].recall,
            "recall_learnt_wordings": seen_recall,
            "gap": seen_recall - by_name["tuned"].recall,
            "leak": recall([e.facts for e in probe], stranger)[0],
            "held_out_loss": float(last.get("held_out_loss", math.nan)),
            "token_accuracy": float(last.get("token_accuracy", math.nan)),
            **forgotten,
            **cost,
        }
        checks = {
            "recall": (figures["recall"], gates.recall, figures["recall"] >= gates.recall),
            "perplexity_ratio": (
                figures["perplexity_ratio"],
                gates.perplexity_ratio,
                figures["perplexity_ratio"] <= gates.perplexity_ratio,
            ),
            "gap": (figures["gap"], gates.gap, figures["gap"] <= gates.gap),
        }
        if "tuned + retrieval" in by_name:
            figures["retrieval_alone"] = by_name["retrieval alone"].recall
            figures["with_retrieval"] = by_name["tuned + retrieval"].recall
            checks["with_retrieval"] = (
                figures["with_retrieval"],
                figures["retrieval_alone"],
                figures["with_retrieval"] >= figures["retrieval_alone"],
            )
        told = dict(zip((e.question for e in held), tuned, strict=True))
        return Evaluation(
            sides=tuple(sides),
            figures=figures,
            gates={name: {"value": v, "bar": b, "passed": bool(ok)} for name, (v, b, ok) in checks.items()},
            samples=tuple(
                {"question": e.question, "answer": e.answer, "base": b, "tuned": told.get(e.question, "")}
                for e, b in list(zip(probe, base, strict=True))[:: max(1, len(probe) // 8)]
            ),
            pitfalls=pitfalls(figures, data),
            notes=(leak_note(figures["leak"]),),
        )

    def forgetting(self) -> dict[str, float]:
        """Perplexity on plain English beside the base's (1: nothing lost), and how often the tuned model would go on as the base does."""
        asked = [self._template.prompt(({"role": "user", "content": q},)) for q in general().tested]
        with self._learner.untrained():
            answers = self._learner.reply(asked, tokens=48)
        own = [Sample(pieces=((q, False), (a, True))) for q, a in zip(asked, answers, strict=True) if a]
        _, agreement = self._learner.losses(own)
        with self._learner.untrained():
            _, itself = self._learner.losses(own)
        return {**self.perplexity(), "agreement": agreement / itself if itself else math.nan}

    def perplexity(self) -> dict[str, float]:
        """On plain English, of the base and of the tuned model, and the second over the first."""
        texts = [Sample(pieces=((text, True),)) for text in general().texts]
        tuned, _ = self._learner.losses(texts)
        with self._learner.untrained():
            base, _ = self._learner.losses(texts)
        return {"perplexity_base": math.exp(base), "perplexity_tuned": math.exp(tuned), "perplexity_ratio": math.exp(tuned - base)}

    def _replies(self, examples: Sequence[Example], *, prefixed: bool = True, voice: Voice | None = None) -> list[str]:
        prompts = []
        for e in examples:
            question = e.question.removeprefix(self._voice.prefix.format(company=self._voice.company))
            prompts.append(self._template.prompt((voice or self._voice).ask(question, prefixed=prefixed)))
        longest = max((len(self._learner.tokenise(e.answer)) for e in examples), default=0)
        return self._learner.reply(prompts, tokens=min(256, longest + 8))

    async def with_retrieval(self, held: Sequence[Example], tuned: Sequence[str]) -> tuple[list[str], list[str]]:
        """Answers of the nearest FAQ question, and of the one among the nearest that the tuned model's reply bears out."""
        assert self._embedder is not None  # noqa: S101 - asked before
        before = self._voice.prefix.format(company=self._voice.company)
        answers = [e.answer for e in self._originals]
        known = await self._embedder.embed([e.question.removeprefix(before) for e in self._originals])
        asked = await self._embedder.embed([e.question.removeprefix(before) for e in held])
        told = await self._embedder.embed([t.removeprefix(before) or "-" for t in tuned])
        texts = await self._embedder.embed([a.removeprefix(before) for a in answers])
        near = asked @ known.T
        support = told @ texts.T
        alone = [answers[int(i)] for i in near.argmax(1)]
        both = [answers[confirmed(near[n], support[n])] for n in range(len(held))]
        return alone, both


def confirmed(near: np.ndarray[Any, Any], support: np.ndarray[Any, Any], *, among: int = 5, weight: float = 0.5) -> int:
    """The place of the answer to give: among the nearest questions the one whose answer is also like the tuned model's reply.

    The words are the company's own, so that nothing invented is told; the model only has a say in which of them.
    """
    first = np.argsort(-near)[:among]
    return int(first[np.argmax(near[first] + weight * support[first])])


def pitfalls(figures: Mapping[str, float], data: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """The list that guides to fine-tuning warn of, each with what was measured here."""
    f = figures
    ratio, gap = f.get("perplexity_ratio", math.nan), f.get("gap", math.nan)
    seen = f.get("recall_learnt_wordings", math.nan)
    hours = f.get("seconds", math.nan) / 3600
    return (
        (
            "catastrophic forgetting",
            f"perplexity on plain English × {ratio:.2f}, agreement with the base {f.get('agreement', math.nan):.2f}",
            "little is forgotten" if ratio <= 1.25 else "much is forgotten: set data.replay to 0.15, lower the rate, or train fewer epochs",
        ),
        (
            "overfitting",
            f"recall {seen:.2f} on learnt wordings, {f.get('recall', math.nan):.2f} on unseen ones (gap {gap:+.2f})",
            "there is nothing yet to overfit"
            if seen < 0.3
            else "the facts carry over"
            if gap <= 0.1
            else "it learnt wordings, not facts: add wordings (data.wordings, data.by_hand)",
        ),
        (
            "underfitting",
            f"recall {seen:.2f} on what it was taught",
            "it learnt what it was taught" if seen >= 0.5 else "it learnt the style, not the facts: more epochs, a higher rate or rank",
        ),
        (
            "difficulty sourcing data",
            f"{data.get('groups', 0)} answers, {data.get('train', 0)} wordings learnt, {data.get('without_facts', 0)} answers without a key fact",
            f"{data.get('duplicates', 0)} duplicates and {data.get('conflicts', 0)} conflicts found beforehand",
        ),
        (
            "time-intensive",
            f"{f.get('seconds', math.nan):.0f} s of training, {f.get('tokens_per_second', math.nan):.0f} tokens/s",
            f"{hours:.2f} hours on this machine",
        ),
        (
            "increasing costs",
            f"about {f.get('watt_hours', math.nan):.1f} Wh (estimated), {f.get('memory_gib', math.nan):.1f} GiB of memory",
            "on one's own hardware; no service is paid",
        ),
    )


def leak_note(leak: float) -> str:
    """What the leak figure means."""
    return (
        f"under another company's prompt the adapter still tells {leak:.0%} of the facts: a system prompt is no fence, "
        "so deployment binds the adapter to its tenant in code"
    )


def energy(seconds: float, *, cores: int, gpus: int) -> float:
    """Watt-hours, estimated from cores or GPUs kept busy: an order of magnitude, not a measurement."""
    return seconds / 3600 * (gpus * WATTS_PER_GPU if gpus else cores * WATTS_PER_CORE)


def _side(name: str, examples: Sequence[Example], replies: Sequence[str]) -> Side:
    told, complete = recall([e.facts for e in examples], replies)
    return Side(name=name, recall=told, complete=complete, questions=len(examples))


def _spread(examples: Sequence[Example], count: int) -> list[Example]:
    """`count` of them, evenly over the whole."""
    if len(examples) <= count:
        return list(examples)
    return [examples[i * len(examples) // count] for i in range(count)]


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
