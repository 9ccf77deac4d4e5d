"""Where in a stream of sound somebody speaks: the beginning and the end of each utterance, by how loud it is above what was there before.

Browsers take out echo and noise before they send, so loudness is enough. Refuses what is too short to be a word, and cuts what does not end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from frontdesk.models.speech import RATE

FRAME = RATE // 50
"""Samples that are looked at together: 20 ms."""
ABOVE = 9.0
"""Decibels above the floor from which a frame counts as voiced."""
LEAST = -52.0
"""Decibels below full scale under which nothing counts as voiced."""
BEGIN, BEGIN_OVER = 6, 12
"""Voiced frames that begin an utterance; over a desk that speaks it takes more, so that its echo does not."""
END = 40
"""Frames of silence that end one: 0.8 s."""
HIGHEST = -38.0
"""Decibels above which the floor never begins: who speaks at once is heard, and the first pause shows what the room is like."""
KEPT = 15
"""Frames from before the beginning that belong to it: first sounds are soft."""
SHORTEST = 10
"""Voiced frames of a word; what has fewer is a cough or a click."""
LONGEST = 1500
"""Frames after which an utterance ends anyhow: 30 s."""


@dataclass(frozen=True)
class Onset:
    """Somebody begins to speak."""


@dataclass(frozen=True)
class Utterance:
    """What somebody said, from beginning to end: samples of 16 bits at RATE."""

    pcm: bytes


class Listening:
    """Takes sound as it comes, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._floor = 0.0
        self._before: deque[tuple[bytes, bool]] = deque(maxlen=max(KEPT, BEGIN_OVER + 4))
        self._said: list[bytes] = []
        self._voiced = 0
        self._quiet = 0

    @property
    def speaking(self) -> bool:
        """Whether an utterance is going on."""
        return bool(self._said)

    def take(self, pcm: bytes, *, over: bool = False) -> list[Onset | Utterance]:
        """What a piece of sound begins and ends. `over`: the desk is speaking meanwhile."""
        found: list[Onset | Utterance] = []
        self._rest += pcm
        size = 2 * FRAME
        whole = len(self._rest) // size * size
        for at in range(0, whole, size):
            event = self._frame(self._rest[at : at + size], BEGIN_OVER if over else BEGIN)
            if event is not None:
                found.append(event)
        self._rest = self._rest[whole:]
        return found

    def _frame(self, frame: bytes, begin: int) -> Onset | Utterance | None:
        level = _decibels(frame)
        if not self._floor:
            self._floor = min(level, HIGHEST)
        voiced = level > max(self._floor + ABOVE, LEAST)
        # The floor falls at once and rises slowly, slowest while somebody speaks: a hum that began ends up below it.
        self._floor = max(min(level, self._floor + (0.02 if voiced else 0.2)), -80.0)
        if not self._said:
            self._before.append((frame, voiced))
            if sum(v for _, v in list(self._before)[-(begin + 4) :]) < begin:
                return None
            self._said = [f for f, _ in self._before]
            self._voiced, self._quiet = sum(v for _, v in self._before), 0
            self._before.clear()
            return Onset()
        self._said.append(frame)
        self._voiced += voiced
        self._quiet = 0 if voiced else self._quiet + 1
        if self._quiet < END and len(self._said) < LONGEST:
            return None
        said, enough = b"".join(self._said), self._voiced >= SHORTEST
        self._said = []
        return Utterance(said) if enough else None


def _decibels(frame: bytes) -> float:
    samples = np.frombuffer(frame, "<i2").astype(np.float64)
    power = float(np.mean(samples * samples)) / 32768.0**2
    return 10 * float(np.log10(power)) if power > 1e-10 else -100.0
