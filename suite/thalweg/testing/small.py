"""Small test objects for plugins: a data set, a network with batch norm and a short training."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import BuildContext, Draw, LoadedProblem, Optimizer, Stepper, StepReport
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.errors import Diverged
from thalweg.registry import Registry
from thalweg.testing.condition import expect
from thalweg.training.finding import NothingWorksError, find_conventions


def problem(dtype: torch.dtype = torch.float32) -> LoadedProblem:
    """64 examples of 6 numbers in 3 classes that a linear layer nearly separates."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator, dtype=dtype)
    y = (x @ torch.randn(6, 3, generator=generator, dtype=dtype)).argmax(1)
    return Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION)


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """6-8-3 with batch norm and tanh."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


@functools.cache
def _conventions(optimizer: Optimizer) -> Mapping[str, Any]:
    """What trials find out at the first run of a foreign class; nothing where no convention works."""
    if not optimizer.open_conventions:
        return {}
    try:
        return find_conventions(optimizer)
    except NothingWorksError:
        return {}


class Unguarded(Objective):
    """An objective that lets a stepper write into its batch, since the check of effects reports this better."""

    def check_batch(self) -> None:
        """Nothing."""


class Workbench:
    """Trains a small network with a registered optimizer at its defaults, in batches of 16.

    Make the steps inside ``thalweg.training.randomness.seeded``, as a trial does, since an optimizer may draw from
    torch's, numpy's and Python's global generators.

    Args:
        registry: where the optimizer is.
        optimizer: the optimizer's name.
        dtype: the precision of data and weights.
        module: the network, with 6 inputs and 3 outputs; ``network(dtype)`` where None.
        given: hyperparameters that differ from the defaults.
    """

    def __init__(
        self,
        registry: Registry,
        optimizer: str,
        dtype: torch.dtype = torch.float32,
        module: nn.Module | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self.problem = problem(dtype)
        self.module = network(dtype) if module is None else module
        self.given = dict(given or {})
        self.draw = Draw(0, 16)
        self.objective = Unguarded(self.module, self.problem, self.draw)
        self.optimizer = registry.optimizer(optimizer)
        self.stepper = self.build()

    def build(self) -> Stepper:
        """A new stepper for the module in its present state."""
        hyperparameters = resolve(self.optimizer.options, self.given, self.optimizer.name)
        context = BuildContext(0, 64, 16, steps=1000, conventions=_conventions(self.optimizer))
        return self.optimizer.build(self.module, hyperparameters, context)

    def steps(self, start: int, stop: int) -> None:
        """Make the steps ``start`` to ``stop - 1``."""
        for step in range(start, stop):
            self.objective.begin_step(self.problem.batch("train", step, self.draw), step)
            report = self.stepper.step(self.objective)
            expect(isinstance(report, StepReport), "a step that returns a StepReport", type(report).__name__)

    def path(self, start: int, stop: int) -> list[list[Tensor]]:
        """The weights after each of the steps ``start`` to ``stop - 1``, or up to the step that diverges."""
        found = []
        for step in range(start, stop):
            try:
                self.steps(step, step + 1)
            except Diverged:
                break
            found.append(self.weights())
        return found

    def weights(self) -> list[Tensor]:
        """Copies of all parameters and buffers."""
        return [tensor.clone() for tensor in self.module.state_dict().values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether two lists of tensors are bitwise equal; nan equals nan."""
    return len(first) == len(second) and all(map(_equal, first, second))


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def parting(first: list[list[Tensor]], second: list[list[Tensor]]) -> int | None:
    """The first index at which two paths (see ``Workbench.path``) differ; None where they are equal."""
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if not same(a, b):
            return place
    return None if len(first) == len(second) else min(len(first), len(second))
