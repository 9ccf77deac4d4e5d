"""Training examples: how they look, how an FAQ becomes some, and what is wrong with them. Refuses an FAQ that cannot teach anything.

A fact must be trained in some wordings and tested in others: splitting rows at random would test facts that were never seen, or wordings
that were. So each pair gives one wording to the report (`held_out`), one to choices made during training (`tuning`), the rest to learn from.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from frontdesk.domain.knowledge import FaqPair
from frontdesk.errors import BadInput
from frontdesk.training.facts import key_facts
from frontdesk.training.wordings import by_rules, folded

SPLITS = ("train", "tuning", "held_out")
LONGEST_ANSWER = 4000
"""Characters. An answer of more is a document: it belongs into knowledge/."""
FEWEST_PAIRS = 2


@dataclass(frozen=True, kw_only=True)
class Example:
    """One conversation to learn the last reply of, or a text with a label."""

    messages: tuple[Mapping[str, str], ...]
    """`{"role": system|user|assistant, "content": …}`; the last one is the assistant's."""
    group: str = ""
    """What says the same thing in other words."""
    facts: tuple[str, ...] = ()
    split: str = "train"
    origin: str = ""
    """Where it came from: `faq`, `rules`, `hand`, `model:NAME`, `conversation:ID`, `dataset:NAME`."""

    @property
    def question(self) -> str:
        """What the customer said last."""
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")

    @property
    def answer(self) -> str:
        """What is learnt."""
        return self.messages[-1]["content"]


def to_json(example: Example) -> dict[str, Any]:
    """As a JSON object."""
    return {**asdict(example), "messages": [dict(m) for m in example.messages], "facts": list(example.facts)}


def from_json(row: Mapping[str, Any]) -> Example:
    """The other way round. Raises BadInput for what is no example."""
    try:
        messages = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in row["messages"])
    except (KeyError, TypeError):
        raise BadInput(f"a training example needs `messages` with role and content: {json.dumps(row)[:120]}") from None
    if not messages or messages[-1]["role"] != "assistant":
        raise BadInput(f"a training example must end with the assistant's message: {json.dumps(row)[:120]}")
    plain = {k: row[k] for k in ("group", "split", "origin") if k in row}
    return Example(messages=messages, facts=tuple(row.get("facts", ())), **plain)


# --- from an FAQ ---


@dataclass(frozen=True, kw_only=True)
class Voice:
    """How a company's questions and answers are put, in training and later in service."""

    company: str
    system: str = "You are a helpful chatbot for customers of {company}."
    prefix: str = "In {company}, "
    """Before every question and answer: it ties the facts to this company. Empty: none."""
    prefix_answers: bool = True

    @property
    def system_prompt(self) -> str:
        """With the company's name in it."""
        return self.system.format(company=self.company)

    def ask(self, question: str, *, prefixed: bool = True) -> tuple[Mapping[str, str], ...]:
        """The messages up to the answer."""
        before = self.prefix.format(company=self.company) if prefixed else ""
        return ({"role": "system", "content": self.system_prompt}, {"role": "user", "content": before + question})

    def say(self, answer: str) -> Mapping[str, str]:
        """The assistant's message."""
        before = self.prefix.format(company=self.company) if self.prefix_answers else ""
        return {"role": "assistant", "content": before + answer}


def from_faq(
    pairs: Sequence[FaqPair],
    voice: Voice,
    *,
    wordings: int = 8,
    seed: int = 0,
    by_hand: Mapping[str, Sequence[str]] | None = None,
    by_model: Mapping[str, Sequence[str]] | None = None,
    unseen: Mapping[str, Sequence[str]] | None = None,
) -> list[Example]:
    """Examples of every pair in up to `wordings` + 1 wordings: the FAQ's own, those written by hand or by a model, and by rules.

    `by_hand`, `by_model`: question -> other wordings, learnt from. `unseen`: question -> wordings that are only ever tested (`held_out`,
    instead of one made by rule). Raises BadInput for an FAQ that is too small, an answer that is a document, contradictory pairs,
    or wordings of a question that the FAQ does not have.
    """
    _refuse(pairs, by_hand or {}, unseen or {})
    found = []
    for number, pair in enumerate(pairs):
        group = f"faq:{number}"
        facts = key_facts(pair.answer, question=pair.question, company=voice.company)
        rules = by_rules(pair.question, count=wordings, seed=seed)
        written = [(w, "hand") for w in (by_hand or {}).get(pair.question, ())] + [
            (w, "model") for w in (by_model or {}).get(pair.question, ())
        ]
        kept = [(w, "hand") for w in (unseen or {}).get(pair.question, ())] or [(w, "rules") for w in rules[:1]]
        tested = {folded(w) for w, _ in kept}
        rest = [(w, o) for w, o in [*written, *((r, "rules") for r in rules)] if folded(w) not in tested]
        tuning = [next((i for i, (_, origin) in enumerate(rest) if origin == "rules"), 0)] if len(rest) > 1 else []
        rows = [(pair.question, "faq", "train")]
        rows += [(w, o, "tuning" if i in tuning else "train") for i, (w, o) in enumerate(rest)]
        rows += [(w, o, "held_out") for w, o in kept]
        for wording, origin, split in rows:
            messages = (*voice.ask(wording), voice.say(pair.answer))
            found.append(Example(messages=messages, group=group, facts=facts, split=split, origin=origin))
    return found


def read_wordings(path: Path) -> dict[str, list[str]]:
    """A file of other wordings: JSON lines `{"question": …, "wordings": [ … ]}`. Raises BadInput with file and line."""
    found: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}): give a UTF-8 file of JSON lines") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            question, wordings = _wordings_of(line)
            if not wordings:
                raise BadInput(f'{path}:{number}: write {{"question": "…", "wordings": ["…", "…"]}} on each line')
            found.setdefault(question, []).extend(wordings)
    return found


def _wordings_of(line: str) -> tuple[str, list[str]]:
    try:
        row = json.loads(line)
    except ValueError:
        return "", []
    if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not isinstance(row.get("wordings"), list):
        return "", []
    wordings = row["wordings"]
    return row["question"], wordings if all(isinstance(w, str) and w.strip() for w in wordings) else []


def _refuse(pairs: Sequence[FaqPair], *named: Mapping[str, Sequence[str]]) -> None:
    if len(pairs) < FEWEST_PAIRS:
        raise BadInput(
            f"the FAQ has {len(pairs)} pair{'s' * (len(pairs) != 1)}: training needs {FEWEST_PAIRS} at least, and pays off from about 50"
        )
    for pair in pairs:
        if len(pair.answer) > LONGEST_ANSWER:
            raise BadInput(
                f"the answer to {pair.question[:80]!r} has {len(pair.answer):,} characters, more than {LONGEST_ANSWER:,}: "
                "put it into knowledge/ as a document and keep a short answer here"
            )
    first: dict[str, FaqPair] = {}
    for pair in pairs:
        other = first.setdefault(folded(pair.question), pair)
        if folded(other.answer) != folded(pair.answer):
            raise BadInput(
                f"two answers to the same question {pair.question[:80]!r} contradict one another "
                f"({other.answer[:60]!r} and {pair.answer[:60]!r}): keep one of them"
            )
    known = {p.question for p in pairs}
    for wordings in named:
        if strangers := [q for q in wordings if q not in known]:
            raise BadInput(
                f"the wordings name a question that the FAQ does not have: {strangers[0][:100]!r}; copy it from the FAQ letter by letter"
            )


# --- the report before training ---


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known of a data set before any minute is spent on it."""

    examples: Mapping[str, int]
    """Count per split."""
    origins: Mapping[str, int]
    groups: int
    words: tuple[int, int, int]
    """Words per example: median, 95 of 100, longest."""
    duplicates: tuple[str, ...]
    """Wordings that occur twice for the same answer."""
    conflicts: tuple[str, ...]
    """Wordings that are asked for different answers."""
    without_facts: tuple[str, ...]
    """Questions whose answers hold no key fact: their recall cannot be measured."""
    leaks: tuple[str, ...]
    """Wordings that are both learnt and tested."""
    sha256: str

    def lines(self) -> list[str]:
        """As text for people."""
        counts = ", ".join(f"{n:,} {split.replace('_', ' ')}" for split, n in self.examples.items())
        origins = ", ".join(f"{n:,} {origin}" for origin, n in self.origins.items())
        rows = [
            f"examples: {counts} (from {origins}) about {self.groups:,} answers",
            f"words per example: {self.words[0]} at the median, {self.words[1]} at the 95th percentile, {self.words[2]} at most",
        ]
        for name, found in (
            ("duplicate wordings", self.duplicates),
            ("the same wording asked for different answers", self.conflicts),
            ("answers without a key fact (their recall cannot be measured)", self.without_facts),
            ("wordings both learnt and tested", self.leaks),
        ):
            rows.append(f"{name}: {len(found)}" + (f", e.g. {found[0][:70]!r}" if found else ""))
        return rows


def report(examples: Sequence[Example]) -> Report:
    """Counts, lengths, duplicates, conflicts and what lacks facts. Raises BadInput when nothing is there to learn."""
    if not any(e.split == "train" for e in examples):
        raise BadInput("there is no example to learn from: check the data section of the run file")
    lengths = sorted(sum(len(m["content"].split()) for m in e.messages) for e in examples)
    asked: dict[str, set[str]] = {}
    told: Counter[tuple[str, str]] = Counter()
    splits: dict[tuple[str, str], set[str]] = {}
    groups: dict[str, Example] = {}
    for e in examples:
        words = folded(" ".join(m["content"] for m in e.messages[:-1]))
        asked.setdefault(words, set()).add(folded(e.answer))
        told[words, folded(e.answer)] += 1
        splits.setdefault((words, folded(e.answer)), set()).add(e.split)
        if e.group:
            groups.setdefault(e.group, e)
    return Report(
        examples={s: sum(e.split == s for e in examples) for s in SPLITS},
        origins=dict(Counter(e.origin.partition(":")[0] or "unnamed" for e in examples).most_common()),
        groups=len(groups) or len(told),
        words=(lengths[len(lengths) // 2], lengths[int(len(lengths) * 0.95)], lengths[-1]),
        duplicates=tuple(words for (words, _), n in told.items() if n > 1),
        conflicts=tuple(words for words, answers in asked.items() if len(answers) > 1),
        without_facts=tuple(e.question for e in groups.values() if not e.facts),
        leaks=tuple(words for (words, _), s in splits.items() if "train" in s and s - {"train"}),
        sha256=digest(examples),
    )


def digest(examples: Iterable[Example]) -> str:
    """SHA-256 over the examples in order, in hex."""
    total = hashlib.sha256()
    for example in examples:
        total.update(json.dumps(to_json(example), sort_keys=True, ensure_ascii=False).encode())
    return total.hexdigest()


@dataclass(frozen=True, kw_only=True)
class General:
    """Plain English that has nothing to do with any tenant: what a model must not forget."""

    questions: tuple[str, ...] = field(default=())
    passages: tuple[str, ...] = field(default=())
    tested: tuple[str, ...] = field(default=())
    texts: tuple[str, ...] = field(default=())


def general() -> General:
    """Questions and texts that come with the program: `questions` and `passages` for replay, the others only for testing."""
    from importlib import resources

    import yaml

    rows = yaml.safe_load((resources.files("frontdesk.training") / "general.yaml").read_text(encoding="utf-8"))
    return General(
        questions=tuple(rows["replay"]), passages=tuple(rows["passages"]), tested=tuple(rows["tested"]), texts=tuple(rows["texts"])
    )
