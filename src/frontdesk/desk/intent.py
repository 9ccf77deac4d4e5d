"""What a message is about, before anything is looked up: the route it should take, its finer name, and how the customer feels.

Trained per tenant in seconds, from the tenant's own words and from a general support set
(`support_set/<route>/<name>.txt`, one utterance per line).
When in doubt it says that the message is a question: a question routed to small talk is lost, small talk that is looked up is not.
Refuses nothing by itself: it names what should be refused. Source of the method: see `intent_head`.
"""

from __future__ import annotations

import asyncio
import io
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from weakref import WeakKeyDictionary
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from frontdesk.desk.intent_head import IntentHead, LayeredEmbedder, Prediction, evaluate, evaluate_files, vectors_for
from frontdesk.domain.conversation import Route
from frontdesk.errors import BadInput
from frontdesk.models.protocols import Embedder, Vectors

__all__ = [
    "Intent", "IntentHead", "IntentRecognizer", "LayeredEmbedder", "Material", "Prediction", "Utterance",
    "evaluate", "evaluate_files", "support_set", "vectors_for",
]  # fmt: skip

QUESTION = "question"
_GENERAL, _LIVE, _ACTION, _ANGRY = "question/general", "question/live", "question/action", "question/angry"
_PREFIXES = ("greeting", "thanks", "acknowledgement", "wellbeing")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")
_LONGEST_READING = 6  # sentences of one message that are read one by one
_ASKED_FROM, _ASKED_WEIGHT = 0.55, 12.0  # likeness to an FAQ question or a tool from which on it speaks for a question; log-odds per unit
_TOLD_FROM, _TOLD_WEIGHT = 0.5, 10.0  # the same for a passage, whose wording is further from a question's
_DOUBT = 0.25  # as soon as a question is this likely, it is one
_DOUBT_TOPIC = 0.2  # the same for refusals by topic, which are a company's own topic now and then
_DOUBT_ANGER = 0.45  # anger alone and an angry question share their words, so here only a likelier question wins
_TOPICS = ("refuse/advice", "refuse/general_knowledge", "refuse/task")
_DOUBT_UNKNOWN = 0.08  # for a message of mostly unknown words, such as the name of a product
_NAMED = {"smalltalk": 0.2, "handoff": 0.35, "refuse": 0.35}  # a kind without a likelier name than this was put together from scraps
_HUMAN = 0.5
_SURE = 0.6  # for one sentence to decide over the whole message
_EMBEDDED: WeakKeyDictionary[Embedder, dict[str, NDArray[np.float32]]] = WeakKeyDictionary()
_ROUTES = {route.value: route for route in Route}


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One line of the support set."""

    text: str
    route: str
    """Folder: smalltalk, handoff, refuse or question."""
    name: str
    """File, without its ending."""

    @property
    def label(self) -> str:
        """What the router tells apart; a question is a general one unless its file says that it needs live data or is angry."""
        name = f"{self.route}/{self.name}"
        return name if self.route != QUESTION or name in (_LIVE, _ACTION, _ANGRY) else _GENERAL


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a tenant knows, as far as the router needs it. Vectors that are at hand save embedding them again."""

    questions: Sequence[str] = ()
    """FAQ questions."""
    passages: Sequence[str] = ()
    """Sentences and headings of documents, or whole passages."""
    operations: Sequence[str] = ()
    """Summaries and descriptions of the tenant's tools."""
    passage_vectors: Vectors | None = None
    """(passages, dimensions), unit length."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What one message wants. `name` is `smalltalk/greeting`, `handoff/anger`, `refuse/injection`, `dynamic/live`, `faq`, `knowledge`, ..."""

    route: Route
    name: str
    confidence: float
    """Probability of `name`, in [0, 1]."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Probability per name; sums to 1."""
    anger: float = 0.0
    """How angry the wording is, in [0, 1], whatever is asked."""
    asks_human: bool = False
    """The customer wants a person, perhaps beside a question. Asking about people is not that."""
    covered: float = 0.0
    """Probability that the tenant's own material is about this, by likeness alone."""

    def wants(self, kind: str) -> float:
        """Probability that the message wants `kind`: a route (`handoff`), a name (`smalltalk/joke`), or `question` (of any source)."""
        kinds = (Route.FAQ, Route.KNOWLEDGE, Route.DYNAMIC) if kind == QUESTION else (kind,)
        return float(sum(p for name, p in self.scores.items() if name in kinds or name.split("/")[0] in kinds))


@cache
def support_set() -> tuple[Utterance, ...]:
    """Every utterance of the support set, in a fixed order."""
    found = []
    for route in sorted(resources.files("frontdesk.desk").joinpath("support_set").iterdir(), key=lambda e: e.name):
        for file in sorted(route.iterdir(), key=lambda e: e.name) if route.is_dir() else ():
            lines = dict.fromkeys(line.strip() for line in file.read_text(encoding="utf-8").splitlines())
            found += [Utterance(text=line, route=route.name, name=file.name.removesuffix(".txt")) for line in lines if line]
    return tuple(found)


class IntentRecognizer:
    """The router of one tenant. Make it with `train` or `from_bytes`; it never changes afterwards and is safe to share between tasks."""

    def __init__(self, head: IntentHead, own: Mapping[str, Vectors]) -> None:
        self._head = head
        self._own = own

    @classmethod
    async def train(
        cls, material: Material, embedder: Embedder, *, utterances: Sequence[Utterance] | None = None, seed: int = 7
    ) -> IntentRecognizer:
        """Learn a tenant's router: some seconds, most of them for embedding the support set. Raises ModelUnavailable.

        `utterances` replaces the support set (to hold some of it out).
        """
        lines = list(support_set() if utterances is None else utterances)
        lines += _composed(lines, random.Random(seed))  # noqa: S311 - a repeatable choice of training rows, nothing secret
        vectors = await _embedded_once(lines, embedder)
        questions = await embedder.embed(list(material.questions))
        operations = await embedder.embed(list(material.operations))
        passages = material.passage_vectors if material.passage_vectors is not None else await embedder.embed(list(material.passages))
        head = await asyncio.to_thread(
            IntentHead.train,
            [*(line.text for line in lines), *material.questions],
            [*(line.label for line in lines), *[_GENERAL] * len(material.questions)],
            vectors=np.concatenate([vectors, questions]),
            seed=seed,
        )
        return cls(head, {"faq": questions, "knowledge": passages, "dynamic": operations})

    def recognize(self, text: str, vector: NDArray[np.float32]) -> Intent:
        """The intent of one message. `vector` is its sentence vector, (dimensions,), unit length."""
        return self._recognized([text], np.asarray(vector, np.float32)[None])[0]

    def _recognized(self, texts: Sequence[str], vectors: Vectors) -> list[Intent]:
        predictions = self._head.predict(texts, vectors)
        return [self._weighed(text, vector, dict(p.scores)) for text, vector, p in zip(texts, vectors, predictions, strict=True)]

    def _weighed(self, text: str, vector: NDArray[np.float32], said: dict[str, float]) -> Intent:
        """The intent, from what the head says to the wording and from what the tenant's own material is about."""
        likeness = {name: float((own @ vector).max()) if len(own) else 0.0 for name, own in self._own.items()}
        sources = {name: said.pop(name, 0.0) for name in (_GENERAL, _LIVE, _ACTION, _ANGRY)}
        anger = _heat(said.get("handoff/anger", 0.0) + sources[_ANGRY] + 0.3 * said.get("handoff/complaint", 0.0), text)
        question = _shift(sum(sources.values()), _own_evidence(likeness))
        rest = sum(said.values()) or 1.0
        scores = {name: p / rest * (1 - question) for name, p in said.items()}
        scores.update(_sources(question, sources, likeness, has_tools=bool(len(self._own["dynamic"]))))
        return _decide(scores, anger=anger, covered=_covered(likeness), unknown=self._head.novelty(text) > 0.5)

    async def read(self, text: str, embedder: Embedder) -> Intent:
        """The intent of a message of one or several sentences: each is read alone too, so that a greeting does not hide a question
        and a wish for a human at the end of a long story is heard. Raises ModelUnavailable."""
        sentences = [s.strip() for s in _SENTENCE.split(text) if re.search(r"\w", s)]
        texts = [text, *sentences[:_LONGEST_READING]] if len(sentences) > 1 else [text]
        vectors = await embedder.embed(texts)
        whole, *parts = self._recognized(texts, vectors)
        return _joined(whole, parts) if parts else whole

    def to_bytes(self) -> bytes:
        """The whole router as an npz archive."""
        out = io.BytesIO()
        own = {f"own_{name}": rows.astype(np.float16) for name, rows in self._own.items()}
        np.savez(out, allow_pickle=False, head=np.frombuffer(self._head.to_bytes(), np.uint8), **own)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> IntentRecognizer:
        """The router that `to_bytes` wrote. Raises BadInput for anything else."""
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
                own = {name.removeprefix("own_"): archive[name].astype(np.float32) for name in archive.files if name.startswith("own_")}
                return cls(IntentHead.from_bytes(archive["head"].tobytes()), own)
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as e:
            raise BadInput("this is not a trained intent recogniser: sync the tenant again") from e


async def _embedded_once(lines: Sequence[Utterance], embedder: Embedder) -> Vectors:
    """The support set is the same for every tenant, so each embedder sees it once."""
    known = _EMBEDDED.setdefault(embedder, {})
    fresh = list(dict.fromkeys(line.text for line in lines if line.text not in known))
    known.update(zip(fresh, await embedder.embed(fresh), strict=True))
    return np.stack([known[line.text] for line in lines])


def _composed(lines: Sequence[Utterance], rng: random.Random) -> list[Utterance]:
    """Messages that hold two things, since customers write so: courtesy and a question are a question, a question and a wish for a
    human are a wish for a human, two courtesies are the later one."""
    courtesy = [line for line in lines if line.name in _PREFIXES and line.text.isascii()]
    questions = [line for line in lines if line.route == QUESTION]
    humans = [line for line in lines if line.label == "handoff/requested" and line.text.isascii()]
    if not courtesy or not questions or not humans:
        return []
    found = []
    for second, count in ((questions, 200), (humans, 30), (courtesy, 60)):
        for _ in range(count):
            one, two = rng.choice(courtesy), rng.choice(second)
            text = f"{one.text.rstrip('!?., ')}{rng.choice([', ', '! ', '. ', ' '])}{two.text}"
            found.append(Utterance(text=text, route=two.route, name=two.name))
    anger = [line for line in lines if line.label == "handoff/anger" and line.text.isascii()]
    for _ in range(120 if anger else 0):
        pair = [rng.choice(anger).text.rstrip("?!. "), rng.choice(questions).text]
        found.append(
            Utterance(text=rng.choice([", ", "! ", ". "]).join(pair if rng.random() < 0.6 else pair[::-1]), route=QUESTION, name="angry")
        )
    for _ in range(80):
        one, two = rng.choice(questions), rng.choice(humans)
        found.append(
            Utterance(text=f"{one.text.rstrip('?.')}{rng.choice(['? ', '. ', ', '])}{two.text}", route="handoff", name="requested")
        )
    return found


def _own_evidence(likeness: Mapping[str, float]) -> float:
    """How much the tenant's own material speaks for a question, in log-odds."""
    asked, told = max(likeness["faq"], likeness["dynamic"]), likeness["knowledge"]
    return _ASKED_WEIGHT * max(0.0, asked - _ASKED_FROM) + _TOLD_WEIGHT * max(0.0, told - _TOLD_FROM)


def _shift(chance: float, log_odds: float) -> float:
    chance = min(max(chance, 1e-6), 1 - 1e-6)
    return float(1 / (1 + (1 - chance) / chance * np.exp(-log_odds)))


def _slope(value: float, middle: float, steepness: float) -> float:
    return float(1 / (1 + np.exp(-steepness * (value - middle))))


def _covered(likeness: Mapping[str, float]) -> float:
    return max(_slope(likeness["faq"], 0.6, 14), _slope(likeness["knowledge"], 0.5, 14), _slope(likeness["dynamic"], 0.55, 14))


def _sources(question: float, source: Mapping[str, float], likeness: Mapping[str, float], *, has_tools: bool) -> dict[str, float]:
    """Split the probability of a question over FAQ, documents and live data."""
    live = source.get(_LIVE, 0.0) + source.get(_ACTION, 0.0)
    told = max(likeness["faq"], likeness["knowledge"])
    live_share = _shift(live, 8 * (likeness["dynamic"] - told) if has_tools else -10 * max(0.0, told - 0.65))
    faq_share = _slope(likeness["faq"] - max(0.0, likeness["knowledge"] - 0.5), 0.58, 14)
    act = source.get(_ACTION, 0.0) / max(live, 1e-6)
    return {
        "faq": question * (1 - live_share) * faq_share,
        "knowledge": question * (1 - live_share) * (1 - faq_share),
        "dynamic/live": question * live_share * (1 - act),
        "dynamic/action": question * live_share * act,
    }


def _heat(chance: float, text: str) -> float:
    """Shouting adds to angry words; it is not anger alone."""
    letters = [c for c in text if c.isalpha()]
    shouting = len(letters) > 8 and sum(c.isupper() for c in letters) > 0.7 * len(letters)
    return _shift(chance, 1.0 * shouting + 0.7 * ("!!" in text))


def _decide(scores: Mapping[str, float], *, anger: float, covered: float, unknown: bool) -> Intent:
    """The strongest kind wins, but a likely question beats small talk, handoff and refusal."""
    asks_human = scores.get("handoff/requested", 0.0) >= _HUMAN
    by_kind = {kind: sum(p for name, p in scores.items() if name.split("/")[0] == kind) for kind in _NAMED}
    kind = max(by_kind, key=lambda kind: by_kind[kind])
    best = max((name for name in scores if name.startswith(f"{kind}/")), key=lambda name: scores[name])
    doubt = _DOUBT_TOPIC if best in _TOPICS else _DOUBT_ANGER if best == "handoff/anger" else _DOUBT
    doubt = min(doubt, _DOUBT_UNKNOWN if unknown else 1)
    if 1 - sum(by_kind.values()) >= doubt or scores[best] < _NAMED[kind]:
        kind = QUESTION
    if asks_human and kind != "refuse":
        kind = "handoff"
    kinds = ("faq", "knowledge", "dynamic") if kind == QUESTION else (kind,)
    name = max((name for name in scores if name.split("/")[0] in kinds), key=lambda name: scores[name])
    if asks_human and kind == "handoff":
        name = "handoff/requested"
    return Intent(
        route=_ROUTES[name.split("/")[0]],
        name=name,
        confidence=min(1.0, scores[name]),
        scores=scores,
        anger=anger,
        asks_human=asks_human,
        covered=covered,
    )


def _joined(whole: Intent, parts: Sequence[Intent]) -> Intent:
    """One intent for a message of several sentences: what must not be missed first, then any question, then the whole."""
    anger = max(whole.anger, *(part.anger for part in parts))
    asks_human = whole.asks_human or any(part.asks_human and part.confidence >= _SURE for part in parts)
    urgent = [p for p in parts if p.confidence >= _SURE and p.name in ("refuse/emergency", "refuse/injection")]
    wishes = [p for p in parts if p.asks_human and p.confidence >= _SURE]
    asked = [p for p in parts if p.route in (Route.FAQ, Route.KNOWLEDGE, Route.DYNAMIC)]
    if whole.name in ("refuse/emergency", "refuse/injection"):
        chosen = whole
    elif urgent or wishes:
        chosen = (urgent or wishes)[0]
    elif whole.route in (Route.FAQ, Route.KNOWLEDGE, Route.DYNAMIC) or not asked:
        chosen = whole
    else:
        chosen = max(asked, key=lambda p: (p.covered, p.confidence))
    return replace(chosen, anger=anger, asks_human=asks_human, covered=max(whole.covered, *(p.covered for p in parts)))
