"""Smaller programs, for evaluations of a few members while the others wait."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from thalweg.contracts import Batch
from thalweg.training.stacked.module import StackedModule


class Parts:
    """Programs of half of the K members, a quarter, and so on to one.

    The bits of a member do not depend on how many members its program has. So any of the programs may evaluate it.

    Args:
        module: the K members, whose weights are copied for each evaluation.
    """

    def __init__(self, module: StackedModule) -> None:
        self._module = module
        self._parts: dict[int, StackedModule] = {}

    def of(self, members: Sequence[int], batch: Batch) -> tuple[StackedModule, Batch] | None:
        """The smallest part with room for the members, with their present weights, and their part of the batch.

        The members are the first ones of the part. None where no part is smaller than the whole, or where the network
        has no program.
        """
        size = whole = self._module.members
        while len(members) <= (half := -(-size // 2)) < size:
            size = half
        if size == whole or self._module.program is None:
            return None
        if size not in self._parts:
            self._parts[size] = StackedModule([self._module.member] * size)
        part = self._parts[size]
        filled = [*members, *[members[0]] * (size - len(members))]
        index = torch.tensor(filled, device=self._module.vectors.device)
        torch.index_select(self._module.vectors, 0, index, out=part.vectors)
        for name, piece in self._module.pieces.items():
            if piece.gradient is None:
                part.pieces[name].value.copy_(piece.value.index_select(0, index))
        for own, buffer in zip(part.buffers(), self._module.buffers(), strict=True):
            own.copy_(buffer.index_select(0, index))
        inputs, targets = (
            None if of_all is None else _chosen(of_all, index) for of_all in (batch.inputs, batch.targets)
        )
        return part, Batch(inputs, targets, batch.size)


def _chosen(of_all: Tensor, index: Tensor) -> Tensor:
    """The parts of some members; members that share one full batch go on sharing it."""
    return of_all[: len(index)] if of_all.stride(0) == 0 else of_all.index_select(0, index)
