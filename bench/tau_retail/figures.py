"""pass^k: the chance that k trials of a task, drawn without putting back, all succeed; averaged over tasks. Counts nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def pass_k(trials: Sequence[Sequence[bool]], k: int) -> float:
    """`trials`: for each task the outcomes of its trials, at least k of them. Raises ValueError when there are fewer."""
    if not trials or any(len(t) < k for t in trials):
        raise ValueError(f"pass^{k} needs at least {k} trials of every task")
    return sum(comb(sum(t), k) / comb(len(t), k) for t in trials) / len(trials)
