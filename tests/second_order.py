"""Helpers for tests of second-order methods: an optimizer on a function, and the network of claim B."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import BuildContext, Draw, LoadContext, LoadedProblem, Shape, Stepper, StepReport
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.curvature import flat
from thalweg.registry import Registry
from thalweg_plugins.claims.natural_gradient._small import Pinned, Reparametrised

__all__ = ["Bench", "Pinned", "Reparametrised", "analytic", "claim_b"]


class Bench:
    """Trains a module by a registered optimizer. ``step`` makes steps and keeps the last report."""

    def __init__(
        self, registry: Registry, optimizer: str, problem: LoadedProblem, module: nn.Module, batch: int | None = None,
        **hyperparameters: Any,
    ) -> None:  # fmt: skip
        self.problem, self.module = problem, module
        self.draw = Draw(0, batch)
        self.objective = Objective(module, problem, self.draw)
        self.optimizer = registry.optimizer(optimizer)
        self.h = resolve(self.optimizer.options, hyperparameters, optimizer)
        self.stepper = self.build()
        self.at = 0

    def build(self) -> Stepper:
        return self.optimizer.build(self.module, self.h, BuildContext(0, self.problem.sizes["train"], 16))

    def step(self, count: int = 1) -> dict[str, float]:
        report = StepReport()
        for _ in range(count):
            self.objective.begin_step(self.problem.batch("train", self.at, self.draw), self.at)
            report = self.stepper.step(self.objective)
            self.at += 1
        return report.info

    @property
    def w(self) -> Tensor:
        return flat(self.module.parameters()).detach().clone()

    @property
    def loss(self) -> float:
        return self.problem.evaluate(self.module, "train")["loss"]


def analytic(
    registry: Registry, optimizer: str, f: Callable[[Tensor], Tensor] | str, start: Tensor | None = None,
    options: dict[str, Any] | None = None, **hyperparameters: Any,
) -> Bench:  # fmt: skip
    """A bench on a function, or on a registered problem by its name, in float64."""
    if isinstance(f, str):
        problem = registry.problem(f)
        settings = resolve(problem.options, options or {}, f)
        loaded, shape = problem.load(settings, LoadContext(torch.device("cpu"), torch.float64)), problem.shape(settings)
    else:
        assert start is not None
        loaded, shape = AnalyticFunction(f, lambda _: start), Shape("function", (), (len(start),))
    module = registry.architecture("point").build({"tensors": 1}, shape).double()
    loaded.initialize(module, Draw(0, None))
    return Bench(registry, optimizer, loaded, module, **hyperparameters)


def claim_b(registry: Registry) -> tuple[Supervised, Pinned]:
    """500 digits of 8 principal components, and the network after 200 gradient steps, in float64."""
    digits = registry.problem("digits")
    loaded = digits.load(
        resolve(digits.options, {"components": 8}, "x"), LoadContext(torch.device("cpu"), torch.float64)
    )
    assert isinstance(loaded, Supervised)
    x, y = loaded.data["train"]
    problem = Supervised({"train": (x[:500], y[:500])}, CrossEntropy(), CLASSIFICATION)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Pinned().double()
    Bench(registry, "sgd", problem, module, lr=0.5).step(200)
    return problem, module
