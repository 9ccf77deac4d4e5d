"""The loss filter of Toolformer (Schick et al. 2023, section 2), as arithmetic on given log-probabilities. Knows no model.

w~_t = max(0, 1 - t/5)      w_t = w~_t / sum of w~          t = 0, 1, ... counted from the position of the call
L_i(z)  = - sum over j >= i of w_(j-i) * log p(x_j | z, x_1 .. x_(j-1))
L+ = L_i(call with result)      L- = min(L_i(nothing), L_i(call without result))
kept when  L- - L+ >= tau_f
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

REACH = 5
"""Tokens behind the call that count."""
THRESHOLDS = (0.5, 1.0, 2.0)
"""The values of tau_f for which the paper tells how many examples were kept."""


def weights(tokens: int) -> list[float]:
    """The weights of the first `tokens` tokens behind a position: 1/3, .267, .2, .133, .067, then 0.

    With fewer than five tokens left the weights that there are sum to 1.
    """
    raw = [max(0.0, 1 - 0.2 * t) for t in range(tokens)]
    total = sum(raw)
    return [w / total for w in raw] if total else raw


def weighted_loss(log_probabilities: Sequence[float]) -> float:
    """L of the tokens behind a position, from their natural log-probabilities in order."""
    return -sum(w * p for w, p in zip(weights(len(log_probabilities)), log_probabilities, strict=True))


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The three losses of one candidate, in nats."""

    nothing: float
    call: float
    """Of the call without its result."""
    result: float
    """Of the call with its result (L+)."""

    @property
    def gain(self) -> float:
        """L- - L+: how much the result helps beyond the better of nothing and the bare call."""
        return min(self.nothing, self.call) - self.result

    def kept(self, tau_f: float) -> bool:
        """Whether the call passes the filter."""
        return self.gain >= tau_f
