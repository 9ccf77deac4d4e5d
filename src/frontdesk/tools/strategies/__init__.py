"""How a language model proposes calls and writes around their values: `inline`, `react` and `native`, behind one protocol.

A strategy decides nothing and calls nothing: it gives the calls that the model wrote, and takes the results that the platform made of them.
"""

from __future__ import annotations

from frontdesk.models.protocols import LanguageModel
from frontdesk.tools.strategies.inline import Inline
from frontdesk.tools.strategies.native import Native
from frontdesk.tools.strategies.react import React
from frontdesk.tools.strategies.writing import Strategy, Task, Writing


def strategy(name: str, model: LanguageModel) -> Strategy:
    """The strategy of that name (`inline`, `react`, `native`) with this model."""
    kinds: dict[str, type[Inline | React | Native]] = {"inline": Inline, "react": React, "native": Native}
    return kinds[name](model)


NAMES = ("inline", "react", "native")

__all__ = ["NAMES", "Inline", "Native", "React", "Strategy", "Task", "Writing", "strategy"]
