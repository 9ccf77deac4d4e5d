"""What lies below the first layer that learns, worked out once per sample and kept: frozen layers say the same in every epoch.

Each sample's states are made in the row in which the run first sees it, whether the run was cut off in between or not: another row would
round differently, and a resumed run has to end with the same weights. Keeps all or, when that is too much, is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from frontdesk.training.packing import Row

Tokens = tuple[int, ...]


class Frozen:
    """States at the first layer that learns, by sample."""

    def __init__(self, below: Callable[[Row], torch.Tensor], rows: Iterable[Row]) -> None:
        """`below`: (tokens, hidden) of a row; `rows`: in the order in which the run sees them."""
        self._below = below
        self._first: dict[Tokens, Row] = {}
        for row in rows:
            for sample in _samples(row):
                self._first.setdefault(sample, row)
        self._kept: dict[Tokens, torch.Tensor] = {}

    @property
    def tokens(self) -> int:
        """Of all samples."""
        return sum(map(len, self._first))

    def of(self, rows: Sequence[Row]) -> torch.Tensor:
        """(rows, longest, hidden), zeros behind a shorter row."""
        return torch.nn.utils.rnn.pad_sequence([self._row(row) for row in rows], batch_first=True)

    def _row(self, row: Row) -> torch.Tensor:
        states = [self._sample(sample) for sample in _samples(row)]
        return torch.cat([states[0][: row.shared], *(s[row.shared :] for s in states)])

    def _sample(self, sample: Tokens) -> torch.Tensor:
        if sample not in self._kept:
            row = self._first[sample]
            with torch.no_grad():
                states = self._below(row)
            for tokens, (start, end) in zip(_samples(row), row.parts, strict=True):
                if self._first[tokens] is row:
                    self._kept[tokens] = torch.cat([states[: row.shared], states[start:end]])
        return self._kept[sample]


def _samples(row: Row) -> list[Tokens]:
    """The tokens of each sample, with the beginning that all share."""
    return [row.tokens[: row.shared] + row.tokens[start:end] for start, end in row.parts]
