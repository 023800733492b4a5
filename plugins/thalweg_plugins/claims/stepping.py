"""Steps of registered optimizers outside of trials. Imports torch, so it is imported only when a claim is measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import BuildContext, Draw, LoadContext, LoadedProblem, Optimizer, Problem, StepReport
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.curvature import flat


def loaded(
    problem: Problem,
    validation: float = 0.0,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> LoadedProblem:
    """A registered problem with its data, by default in float64 on the CPU; data that is missing is fetched."""
    settings = resolve(problem.options, options, problem.name)
    problem.fetch(settings)
    return problem.load(settings, LoadContext(torch.device(device), dtype, validation))


def point(size: int) -> nn.Module:
    """The module of a function of ``size`` numbers, in float64."""
    from thalweg_plugins.architectures._blocks import PointModule

    return PointModule(size).double()


class Steps:
    """A registered optimizer that trains a module on a loaded problem, step by step, as a trial does.

    Args:
        optimizer: the registered optimizer.
        problem: the problem, with its data.
        module: the module at its first weights.
        draw: the batches; None takes full batches.
        draws_in_forward: whether the module's forward pass draws random numbers.
        hyperparameters: the optimizer's settings; others keep their defaults.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        problem: LoadedProblem,
        module: nn.Module,
        draw: Draw | None = None,
        draws_in_forward: bool = False,
        **hyperparameters: Any,
    ) -> None:
        self.problem, self.module = problem, module
        self.draw = draw or Draw(0, None)
        self.objective = Objective(module, problem, self.draw, draws_in_forward)
        self.hyperparameters = resolve(optimizer.options, hyperparameters, optimizer.name)
        size = problem.sizes["train"]
        context = BuildContext(self.draw.seed, size, self.draw.batch_size or size)
        self.stepper = optimizer.build(module, self.hyperparameters, context)
        self.t = 0

    def step(self, count: int = 1) -> StepReport:
        """Make steps, each followed by the problem's projection; return the report of the last one."""
        report = StepReport()
        for _ in range(count):
            self.begin()
            report = self.stepper.step(self.objective)
            self.stepper.project(lambda: self.problem.project(self.module.parameters()))
            self.t += 1
        return report

    def begin(self) -> None:
        """Draw the batch of the next step, without the step."""
        self.objective.begin_step(self.problem.batch("train", self.t, self.draw), self.t)

    @property
    def w(self) -> Tensor:
        """A copy of all weights as one vector."""
        return flat(self.module.parameters()).detach().clone()

    @property
    def loss(self) -> float:
        """The loss on the training split."""
        return self.problem.evaluate(self.module, "train")["loss"]
