"""Reading passages to find the sentence, FAQ answer or table cell that answers a question. Ranks what is written; writes nothing.

The embedding finds what is alike; alike is not an answer. So each unit is also judged by what a careful reader looks at: do the
question's rare words stand there, is it the right row and column, does the customer's "12 kilos" fall into the row "10 to 20 kg",
is an amount there when the question asks how much, does it speak of another group than the customer's. A small model, trained on
companies invented for that purpose (`reading_set/`), weighs these signs; `train_reading.py` makes it. The likeliest few are then read
together with the question by a cross-encoder, whose word counts beside the signs.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from frontdesk.desk.guardrails import content_words
from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.signs import FEATURES, Question, Studies, Study, expected_amounts, face, signs_of, study
from frontdesk.desk.units import Unit, UnitKind
from frontdesk.domain.knowledge import Passage
from frontdesk.errors import BadInput
from frontdesk.models.protocols import Embedder, Matcher, Matching, Vectors

__all__ = [
    "FEATURES",
    "Evidence",
    "Lexicon",
    "Question",
    "Reader",
    "ReadingModel",
    "choice",
    "expected_amounts",
    "face",
    "together",
]

RIVALS = 12
"""Units whose chances are weighed against each other when several tenants are read together."""


LOOKED_AT = 5
"""Of the likeliest units so many are read together with the question; of ten, the right one is hardly oftener first, and each costs ten milliseconds."""
FORLORN = 0.1
"""Probability by signs below which nothing is read together: four in ten questions about others' matters, one in twenty of one's own, and none of
these is answered for it."""
SAME = 0.98
"""Probability that an FAQ pair answers who asks its very question."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A unit with the probability that it answers the question."""

    unit: Unit
    probability: float
    """That this unit and no other is the answer."""
    alone: float = 0.0
    """That it is the answer rather than nothing, were it the only unit: does not shrink where a tenant has many alike."""


class Reader:
    """Ranks the units of passages against a question."""

    def __init__(
        self,
        embedder: Embedder,
        weights: ReadingModel | None = None,
        *,
        encoder: Embedder | None = None,
        matcher: Matcher | None = None,
        cache: int = 60_000,
    ) -> None:
        """`encoder` compares questions with units (see `training.reading_encoder`); without one, `embedder` does both jobs.

        `matcher` reads question and unit together (see `training.reading_pairs`); without one, the signs decide alone.
        """
        self._embedder = embedder
        self._encoder = encoder or embedder
        self._matcher = matcher
        self._model = weights or ReadingModel.shipped()
        self._cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._limit = cache
        self._studies: WeakKeyDictionary[Lexicon, Studies] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        """Name of the encoder that compares."""
        return self._encoder.name

    @property
    def encoder(self) -> Embedder:
        """What compares customers' words with what is written."""
        return self._encoder

    @property
    def matcher(self) -> Matcher | None:
        """What reads a message and a text together, if anything does."""
        return self._matcher

    @property
    def embedder(self) -> Embedder:
        """What makes the vectors."""
        return self._embedder

    @property
    def knows(self) -> Callable[[str], bool] | None:
        """Whether the encoder's dictionary holds a word; None when it has no dictionary."""
        return getattr(self._encoder, "knows", None)

    @property
    def answerable(self) -> float:
        """Probability from which a unit counts as an answer."""
        return self._model.answerable

    async def question(self, text: str, context: str = "") -> Question:
        """The question with its vectors. `context` is what the customer said around it."""
        whole = f"{context} {text}".strip()
        clauses = [c.strip() for c in re.split(r"(?<=[.!?;\n])\s+", whole) if len(content_words(c)) >= 2][:6] or [whole]
        vectors = await self._encoder.embed([whole, *clauses])
        base = vectors[0] if self._encoder is self._embedder else (await self._embedder.embed([whole]))[0]
        return Question(text=whole, search=base, vector=vectors[0], clauses=vectors[1:])

    def know(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Takes over vectors that this encoder made before, by their texts."""
        self._cache.update(vectors)

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """The reader's vectors, from the cache where they are known; shape (len(texts), dimensions)."""
        missing = list(dict.fromkeys(t for t in texts if t not in self._cache))
        if missing:
            for text, row in zip(missing, await self._encoder.embed(missing), strict=True):
                self._cache[text] = row
        rows = np.stack([self._cache[t] for t in texts])
        for text in texts:
            self._cache.move_to_end(text)
        while len(self._cache) > self._limit:
            self._cache.popitem(last=False)
        return rows

    async def read(self, question: Question, passages: Sequence[Passage], lexicon: Lexicon) -> list[Evidence]:
        """All units of the passages, the likeliest answer first."""
        studies = self._studies.setdefault(lexicon, Studies()).of(passages, lexicon)
        if not _ABOUT_IMPRINT.search(question.text):
            studies = [s for s in studies if not s.unit.imprint]
        if not studies:
            return []
        scores = self._model.scores(await self._signs(question, studies, lexicon))
        if self._matcher is not None and choice(scores)[:-1].max() >= FORLORN:
            read = await read_likeliest(question.text, [s.unit for s in studies], scores, self._matcher)
            scores = self._model.weighed(scores, read)
        chances = choice(scores)[:-1]
        nothing = 1.0 - float(chances.sum())
        ranked = [
            Evidence(unit=s.unit, probability=p, alone=p / max(1e-9, p + nothing)) for s, p in zip(studies, chances.tolist(), strict=True)
        ]
        asked = _bare(question.text)
        ranked = [
            replace(e, probability=SAME, alone=SAME) if e.unit.kind is UnitKind.FAQ and _bare(e.unit.passage.title) == asked else e
            for e in ranked
        ]
        return sorted(ranked, key=lambda e: -e.probability)

    async def signs(self, question: Question, units: Sequence[Unit], lexicon: Lexicon) -> NDArray[np.float64]:
        """The signs of each unit, shape (len(units), len(FEATURES)), columns in the order of FEATURES."""
        return await self._signs(question, [study(unit, lexicon) for unit in units], lexicon)

    async def _signs(self, question: Question, studies: Sequence[Study], lexicon: Lexicon) -> NDArray[np.float64]:
        whole = {text: i for i, text in enumerate(dict.fromkeys(text for s in studies for text in s.faces))}
        alike = await self.vectors(list(whole)) @ np.vstack([question.vector[None], question.clauses]).T
        faces = np.array([[whole[text] for text in s.faces] for s in studies])
        return signs_of(question, studies, alike[faces], lexicon)


@dataclass(frozen=True, kw_only=True)
class ReadingModel:
    """A small feed-forward network over the signs, as plain numbers."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    layers: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    answerable: float = 0.5
    """Probability from which the best unit counts as an answer."""
    together: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Weight of the score by signs, weight of the score by reading question and unit together, and what is added to both."""

    @classmethod
    def shipped(cls) -> ReadingModel:
        """The model that comes with the package."""
        return cls.from_json((files("frontdesk.desk") / "reading_model.json").read_text(encoding="utf-8"))

    @classmethod
    def blank(cls) -> ReadingModel:
        """One that weighs nothing, for gathering signs from which another is made."""
        return cls(mean=np.zeros(len(FEATURES)), scale=np.ones(len(FEATURES)), layers=())

    @classmethod
    def from_json(cls, text: str) -> ReadingModel:
        """The model that `to_json` wrote. A sign that it was trained without has no weight; raises BadInput for one that is gone."""
        data = json.loads(text)
        if not set(data["features"]) <= set(FEATURES):
            raise BadInput(
                "the reading model weighs signs that no longer exist: train it again with `python -m frontdesk.desk.train_reading`"
            )
        places = [FEATURES.index(name) for name in data["features"]]
        mean, scale = np.zeros(len(FEATURES)), np.ones(len(FEATURES))
        mean[places], scale[places] = data["mean"], data["scale"]
        layers = [(np.array(w), np.array(b)) for w, b in data["layers"]]
        first = np.zeros((len(FEATURES), layers[0][0].shape[1]))
        first[places] = layers[0][0]
        layers[0] = (first, layers[0][1])
        return cls(mean=mean, scale=scale, layers=tuple(layers), answerable=float(data["answerable"]), together=tuple(data["together"]))

    def to_json(self) -> str:
        """Plain JSON, six significant digits."""
        plain = [[np.vectorize(lambda v: float(f"{v:.6g}"))(part).tolist() for part in layer] for layer in self.layers]
        data = {
            "features": FEATURES,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "layers": plain,
            "answerable": self.answerable,
            "together": self.together,
        }
        return json.dumps(data) + "\n"

    def probabilities(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that each unit is the answer, shape (n,); what is missing to 1 is the probability that none of them is."""
        return choice(self.scores(signs))[:-1]

    def weighed(self, by_signs: NDArray[np.float64], by_reading: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of units, by signs and by reading them together with the question, made one, shape (n,)."""
        own, read, added = self.together
        return own * by_signs + read * by_reading + added

    def scores(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much speaks for each unit against none of them, shape (n,): see `choice`."""
        x = (signs - self.mean) / self.scale
        for i, (weights, bias) in enumerate(self.layers):
            x = x @ weights + bias
            if i + 1 < len(self.layers):
                x = np.maximum(x, 0.0)
        return np.asarray(x[:, 0])


_ABOUT_IMPRINT = re.compile(
    r"\b(?:edition|version|issue|revis|updat|review|amend|effective|in force|valid|appl(?:y|ies)|current|latest|newest|since)",
    re.IGNORECASE,
)
"""What a question speaks of that wants to know which text holds."""


def _bare(text: str) -> str:
    """A question without capitals, punctuation and courtesies."""
    said = " ".join(re.findall(r"[^\W_]+", text.lower().replace("’", "").replace("'", "")))
    return re.sub(
        r"^(?:(?:hi|hello|hey|please|so|and|ok|excuse me|good (?:morning|afternoon|evening)) )+|(?: (?:please|thanks|thank you))+$",
        "",
        said,
    )


def together(ranked: Sequence[Evidence]) -> list[Evidence]:
    """Evidence from several tenants as if it had been read at once: each unit's own merit, against all the others and nothing."""
    odds = [e.alone / max(1e-9, 1.0 - e.alone) for e in ranked]
    # As many rivals as one tenant has, or a front door would never be sure of anything.
    total = 1.0 + sum(sorted(odds, reverse=True)[:RIVALS])
    return [replace(e, probability=o / total) for e, o in zip(ranked, odds, strict=True)]


async def read_likeliest(text: str, units: Sequence[Unit], scores: NDArray[np.float64], matcher: Matcher) -> NDArray[np.float64]:
    """What reading the likeliest units together with a question says of each, shape (n,); of the others what it says of the worst of those."""
    likeliest = np.argsort(-scores)[:LOOKED_AT]
    seen = await matcher.scores(text, [face(units[i]) for i in likeliest], Matching.ANSWER)
    words = np.full(len(scores), float(seen.min()))
    words[likeliest] = seen
    return words


def choice(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over scores and, as the last entry, "none of them" with score zero."""
    all_ = np.append(scores, 0.0)
    powers = np.exp(all_ - all_.max())
    return np.asarray(powers / powers.sum())
