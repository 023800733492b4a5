"""Checks that the bits of members do not depend on how many members train together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.stacking import group_key
from thalweg.training.stacked.agreement import moved
from thalweg.training.stacked.together import Kind, Together, only

STEPS = 2
"""Steps that are compared. Libraries choose kernels by shapes, so the later steps run as the second one."""

_found: dict[tuple[str, tuple[str | type, ...], int], bool] = {}
"""What was found in this process, by kind of trials and number of members."""


def keeps_bits(
    kind: Kind,
    modules: Sequence[nn.Module],
    settings: Sequence[Mapping[str, Any]],
    draws: Sequence[Draw],
    direct: bool,
) -> bool:
    """Whether members that make their first steps together have the bits of members that make them alone.

    A library may compute a sum in another order when there are more members. Then the bits of a trial would depend on
    its neighbours, and the trials must train one at a time. A few members stand for all, because every member's
    numbers begin at an address of one alignment.

    Args:
        kind: what the members have in common.
        modules: the module of each member, at its start; the steps are made on copies with moved weights.
        settings: the hyperparameters of each member.
        draws: the draw of each member.
        direct: whether the network may run without autograd.
    """
    if len(modules) == 1:
        return True
    key = group_key(kind.trial), (type(kind.optimizer), *kind.parts(modules[0])), len(modules)
    if key not in _found:
        modules = [moved(module, index) for index, module in enumerate(modules)]
        stack = Together(kind, modules, settings, draws, direct)
        few = {
            at: Together(kind, [modules[at]], [settings[at]], [draws[at]], direct) for at in {0, 1, len(modules) - 1}
        }
        for step in range(STEPS):
            batch = stack.problem.batch("train", step, draws[0])
            stack.step(batch, step, None)
            for at, single in few.items():
                single.step(only(batch, at, kept=True), step, None)
        rows = stack.module.rows.detach().view(len(modules), -1)
        _found[key] = all(_same_bits(single.module.rows.detach().flatten(), rows[at]) for at, single in few.items())
    return _found[key]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return torch.equal(one.contiguous().view(whole), other.contiguous().view(whole))
