"""Samples as tokens, the order in which they are seen, and rows without padding. Needs a tokenizer, no tensors; refuses what is too long."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from frontdesk.errors import BadInput

Tokenise = Callable[[str], list[int]]
SHARED = 8
"""Tokens that a common beginning must have to be worth computing once per row."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One text to learn from, in pieces: (text, whether it is learnt). Pieces are tokenised apart, so that their borders never move."""

    pieces: tuple[tuple[str, bool], ...]
    group: str = ""
    """Samples of one group say the same thing in other words (see Parameters.per_group)."""
    anchor: bool = False
    """Nothing of it is taught: the model shall go on expecting of every token what the base model expects."""


@dataclass(frozen=True)
class Encoded:
    """A sample as tokens; `learnt[i]`: token i is a target, in an anchor all are."""

    tokens: tuple[int, ...]
    learnt: tuple[bool, ...]
    group: str
    anchor: bool = False


@dataclass(frozen=True)
class Row:
    """A shared beginning of `shared` tokens and then whole samples without it: (start, end) of each within `tokens`."""

    tokens: tuple[int, ...]
    learnt: tuple[bool, ...]
    shared: int
    parts: tuple[tuple[int, int], ...]
    anchor: bool = False
    """A row holds anchors only, or none."""


@dataclass(frozen=True)
class Plan:
    """The samples of each step of one epoch, as indexes."""

    steps: tuple[tuple[int, ...], ...]


def encode(samples: Sequence[Sample], tokenise: Tokenise, *, length: int) -> list[Encoded]:
    """Tokens of each sample. Raises BadInput for one that is longer than `length`, or from which nothing is learnt."""
    known: dict[str, list[int]] = {}
    found = []
    for number, sample in enumerate(samples, 1):
        tokens: list[int] = []
        learnt: list[bool] = []
        for text, wanted in sample.pieces:
            if (piece := known.get(text)) is None:
                piece = known.setdefault(text, tokenise(text))
            tokens += piece
            learnt += [wanted or sample.anchor] * len(piece)
        beginning = " ".join("".join(text for text, _ in sample.pieces[-2:]).split())[:80]
        if len(tokens) > length:
            raise BadInput(
                f"sample {number} has {len(tokens)} tokens, more than the {length} of `length`: shorten it or raise `length` ({beginning!r} …)"
            )
        if not any(learnt[1:]):
            raise BadInput(f"nothing is learnt from sample {number}: give it an answer ({beginning!r})")
        found.append(Encoded(tuple(tokens), tuple(learnt), sample.group, sample.anchor))
    return found


def plan(samples: Sequence[Encoded], *, seed: int, epoch: int, batch: int, per_group: int = 0) -> Plan:
    """The order of one epoch, from (seed, epoch) alone. With `per_group`, so many of each group, other ones in the next epoch.

    Anchors are spread evenly over the steps and add to them.
    """
    chosen = list(range(len(samples)))
    if per_group:
        groups: dict[str, list[int]] = {}
        for index, sample in enumerate(samples):
            groups.setdefault(sample.group or f"#{index}", []).append(index)
        chosen = [i for name, members in groups.items() for i in _turn(members, name, seed, epoch, per_group)]
    random.Random(f"{seed}/{epoch}").shuffle(chosen)  # noqa: S311 - an order of samples
    taught = [i for i in chosen if not samples[i].anchor]
    steps = [taught[i : i + batch] for i in range(0, len(taught), batch)]
    anchors = [i for i in chosen if samples[i].anchor]
    for place, index in enumerate(anchors):
        steps[place * len(steps) // len(anchors)].append(index)
    return Plan(tuple(map(tuple, steps)))


def _turn(members: list[int], name: str, seed: int, epoch: int, count: int) -> list[int]:
    """`count` members, going round through a fixed shuffle of them, so that every wording gets its turn."""
    order = members.copy()
    random.Random(f"{seed}/{name}").shuffle(order)  # noqa: S311
    return [order[(epoch * count + k) % len(order)] for k in range(min(count, len(order)))]


def pack(samples: Sequence[Encoded], *, row: int) -> list[Row]:
    """The samples of one step in as few rows of about `row` tokens as first-fit by falling length finds."""
    return [r for anchor in (False, True) for r in _packed([s for s in samples if s.anchor is anchor], row)]


def _packed(samples: Sequence[Encoded], row: int) -> list[Row]:
    shared = _shared(samples)
    bins: list[list[Encoded]] = []
    room: list[int] = []
    for sample in sorted(samples, key=lambda s: -len(s.tokens)):
        size = len(sample.tokens) - shared
        place = next((i for i, free in enumerate(room) if free >= size), None)
        if place is None:
            bins.append([])
            room.append(max(row, len(sample.tokens)) - shared)
            place = len(bins) - 1
        bins[place].append(sample)
        room[place] -= size
    return [_row(members, shared) for members in bins]


def _row(members: Sequence[Encoded], shared: int) -> Row:
    tokens = list(members[0].tokens[:shared])
    learnt = [False] * shared
    parts = []
    for sample in members:
        parts.append((len(tokens), len(tokens) + len(sample.tokens) - shared))
        tokens += sample.tokens[shared:]
        learnt += sample.learnt[shared:]
    return Row(tuple(tokens), tuple(learnt), shared, tuple(parts), members[0].anchor)


def _shared(samples: Sequence[Encoded]) -> int:
    """Length of the common beginning from which nothing is learnt; 0 when it is too short to bother.

    Every sample keeps at least one unlearnt token of its own: its first target is predicted from there.
    """
    if len(samples) < 2:
        return 0
    longest = min(min(s.learnt.index(True) for s in samples) - 1, min(len(s.tokens) for s in samples) - 1)
    first = samples[0].tokens
    count = 0
    while count < longest and all(s.tokens[count] == first[count] for s in samples):
        count += 1
    return count if count >= SHARED else 0
