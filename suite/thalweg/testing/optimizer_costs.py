"""Checks that what an optimizer evaluates is counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from thalweg.registry import Registry
from thalweg.testing.condition import condition, expect
from thalweg.testing.small import Workbench
from thalweg.training.randomness import seeded

STEPS = 5


@condition(
    finds="losses and gradients that a step evaluates beside the objective without counting them",
    means="the optimizer looks cheaper than it is wherever costs, work or a budget of evaluations decide",
)
def counts_what_it_evaluates(registry: Registry, name: str) -> None:
    """Every forward and every backward pass through the network is counted.

    A hook counts the examples of passes through the network. A step that calls a part of the network, or runs the
    network's operations without the network, is not seen.
    """
    with seeded(0):
        bench = Workbench(registry, name)
        passes = _Passes(bench.module)
        bench.path(0, STEPS)
    counts = bench.objective.counts
    products = counts.jvp + counts.hvp + counts.ggnvp
    # a product with a vector goes through the network at most twice in each direction
    forward, backward = counts.examples + 2 * products, counts.backward + counts.vjp + 2 * products
    way = "evaluate by the objective, or add to objective.counts"
    told = f"{counts.examples} of them counted in {STEPS} steps"
    expect(passes.forward <= forward, f"forward passes of {passes.forward} examples to be counted", told, way)
    told = f"{counts.backward + counts.vjp} of them counted in {STEPS} steps"
    expect(passes.backward <= backward, f"backward passes of {passes.backward} examples to be counted", told, way)


class _Passes:
    """Counts the examples of passes through a network."""

    def __init__(self, module: nn.Module) -> None:
        self.forward = self.backward = 0
        module.register_forward_hook(self._note)

    def _note(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if torch._C._functorch.is_functorch_wrapped_tensor(output):
            return  # products by torch.func have no hooks on tensors
        self.forward += len(output)
        if output.requires_grad:
            output.register_hook(self._note_gradient)  # type: ignore[no-untyped-call]

    def _note_gradient(self, gradient: Tensor) -> None:
        self.backward += len(gradient)
