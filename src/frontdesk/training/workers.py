"""The processes of one run. Alone, everything is a no-op; started by torchrun, rows are shared out and gradients summed over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed

from frontdesk.training.packing import Row


@dataclass(frozen=True)
class Workers:
    """`rank` of `count` processes."""

    rank: int
    count: int

    @classmethod
    def join(cls, threads: int) -> Workers:
        """Meet the others when a launcher started this process (it says where in the environment), else be alone."""
        if threads:
            torch.set_num_threads(threads)
        if not distributed.is_available() or not distributed.is_torchelastic_launched():
            return cls(0, 1)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """The process that writes files."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """This process's own GPU when there are several processes."""
        if wanted == "auto" and self.count > 1 and torch.cuda.is_available():
            return f"cuda:{self.rank % torch.cuda.device_count()}"
        return wanted

    def share(self, rows: Sequence[Row]) -> list[Row]:
        """This process's rows of a step."""
        return list(rows[self.rank :: self.count])

    def sum(self, gradient: torch.Tensor, total: float, count: int) -> tuple[torch.Tensor, float, int]:
        """Gradient, loss and learnt tokens over all processes."""
        if self.count == 1:
            return gradient, total, count
        figures = torch.tensor([total, float(count)], dtype=torch.float64, device=gradient.device)
        distributed.all_reduce(gradient)
        distributed.all_reduce(figures)
        return gradient, float(figures[0]), int(figures[1])

    def any(self, wish: bool) -> bool:
        """Whether one of them wishes it."""
        if self.count == 1:
            return wish
        device = "cuda" if torch.cuda.is_available() else "cpu"
        flag = torch.tensor([int(wish)], device=device)
        distributed.all_reduce(flag)
        return bool(flag)


def first() -> bool:
    """Whether this process is the one that writes files; true when it is alone."""
    return not distributed.is_available() or not distributed.is_initialized() or distributed.get_rank() == 0
