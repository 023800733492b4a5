"""Counts what the evaluations of a network cost."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import mkldnn
from torch.overrides import TorchFunctionMode

from thalweg.contracts import Batch, Draw, LoadedProblem
from thalweg.contracts.copies import tensors_held
from thalweg.contracts.costs import DECLARED, Costs
from thalweg.contracts.derivatives import math_attention
from thalweg.failure import Failure
from thalweg.registry import is_built_in
from thalweg.training.apart import Answer, apart
from thalweg.training.contained import contained
from thalweg.training.flops import Flops
from thalweg.training.randomness import seeded

EXAMPLES = 2
"""Examples that are counted: batch norm takes no single one."""
SMALL = 2**25
"""Parameters of a network that is counted on the CPU, where two examples take less time than the import of torch's
kernels without content."""


def costs_of(module: nn.Module, problem: LoadedProblem) -> Costs:
    """The costs of one example, from the floating-point operations of a forward and a backward pass.

    torch's formulas count matrix products, convolutions and attention. A large network is counted on the meta device,
    without content. A small network, and one that looks at its numbers, is counted on the CPU. A foreign network or
    problem is evaluated in a fork, because it may keep what it computes.

    A problem without a network declares its costs (``LoadedProblem.costs``). DECLARED are the costs of a network that
    cannot be counted, and ``source`` says why.

    Args:
        module: stays as it is.
        problem: gives the loss, and a batch of two training examples.
    """
    if problem.costs is not None:
        return problem.costs
    small = sum(parameter.numel() for parameter in module.parameters()) <= SMALL
    devices = ("cpu", "meta") if small else ("meta", "cpu")
    with contained(), seeded(0):
        batch = problem.batch("train", 0, Draw(0, EXAMPLES))
        answer: Answer
        if small and any(parameter.device.type != "cpu" for parameter in module.parameters()):
            # a fork cannot use an accelerator
            module, batch = _moved(module, "cpu"), _batch_on(batch, "cpu")
        if _is_known(module, problem):
            answer = _counted(module, problem, batch, devices)
        else:
            answer = apart(lambda: _counted(module, problem, batch, devices))
    found = json.loads(answer) if isinstance(answer, str) else "the process that counts ended without an answer"
    return Costs(**found) if isinstance(found, dict) else replace(DECLARED, source=f"not counted: {found}")


def _is_known(module: nn.Module, problem: LoadedProblem) -> bool:
    """Whether network and problem are thalweg's or torch's own, which keep nothing."""
    kinds = {type(problem), type(problem.output_loss), *map(type, module.modules())}
    kinds.discard(type(None))
    return all(kind.__module__.startswith(("torch.nn.", "thalweg.contracts.")) or is_built_in(kind) for kind in kinds)


def _counted(module: nn.Module, problem: LoadedProblem, batch: Batch, devices: tuple[str, ...]) -> str:
    """The costs as JSON, or the reason why there are none."""
    reason = ""
    for device in devices:
        try:
            with warnings.catch_warnings(), torch.device(device):
                warnings.simplefilter("ignore")
                return json.dumps(asdict(_count(_moved(module, device), problem, _batch_on(batch, device))))
        except Exception as error:
            reason = reason or Failure.of(error).line
    return json.dumps(reason)


def _moved(module: nn.Module, device: str) -> nn.Module:
    """A copy of a module on a device, in training mode. On the meta device it has no content, and takes no memory."""
    moved: dict[int, Any] = {}
    for tensor in tensors_held(*map(vars, module.modules())):
        other = tensor.detach()
        other = torch.empty_like(other, device=device) if device == "meta" else other.to(device, copy=True)
        is_parameter = isinstance(tensor, nn.Parameter)
        moved[id(tensor)] = nn.Parameter(other, tensor.requires_grad) if is_parameter else other
    return copy.deepcopy(module, moved).train()


def _batch_on(batch: Batch, device: str) -> Batch:
    inputs, targets = (None if part is None else part.to(device) for part in (batch.inputs, batch.targets))
    return Batch(inputs, targets, batch.size)


def _count(module: nn.Module, problem: LoadedProblem, batch: Batch) -> Costs:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    # the plain formula of attention, and no fused kernels, which have no formula
    with math_attention(), mkldnn.flags(enabled=False):
        with Flops() as forward, _Frozen(forward) as frozen:
            loss = problem.loss(module, batch)
        with Flops() as backward:
            torch.autograd.grad(loss, parameters, allow_unused=True)
    if not forward.total:
        raise ValueError("the network has no matrix product, no convolution and no attention")
    # checkpoints compute their part of the forward pass again, which no gradient needs
    back = min(backward.total, 2 * (forward.total - frozen.total))
    n = batch.size
    return Costs.of_products(forward.total / n, (forward.total + back) / n, frozen.total / n, source="counted")


class _Frozen(TorchFunctionMode):
    """While active, adds up the operations in functions whose result does not depend on a trained parameter."""

    def __init__(self, flops: Flops) -> None:
        super().__init__()
        self.total = 0
        self._flops = flops

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self._flops.total
        found = func(*args, **(kwargs or {}))
        if self._flops.total > before and isinstance(found, Tensor) and not found.requires_grad:
            self.total += self._flops.total - before
        return found
