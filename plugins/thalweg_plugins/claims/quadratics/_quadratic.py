"""The quadratics of section A. Imports torch, so it is imported only when a claim is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.contracts import Draw, Optimizer
from thalweg.contracts.analytic import AnalyticFunction
from thalweg_plugins.claims.stepping import Steps, loaded, point
from thalweg_plugins.problems.quadratic import Quadratic

Vector = NDArray[np.float64]

SIZES = {"d = 20, kappa = 100": (20, 100.0), "d = 50, kappa = 1000": (50, 1000.0)}
"""Dimension and condition number of each setting."""
TARGET = 1e-10
"""Steps are counted until the value has fallen to this share of the first value."""


@dataclass(frozen=True)
class Instance:
    """The registered problem ``quadratic`` with Q, x* and the start of one seed."""

    problem: AnalyticFunction
    h: Vector
    """H (d, d)."""
    offset: Vector
    """x0 - x* (d,)."""
    seed: int

    def steps(self, optimizer: Optimizer, **hyperparameters: Any) -> Steps:
        """A registered optimizer at the start."""
        module = point(len(self.offset))
        self.problem.initialize(module, Draw(self.seed, None))
        return Steps(optimizer, self.problem, module, **hyperparameters)

    def value(self, offset: Vector) -> float:
        """f at x* + offset."""
        return float(0.5 * offset @ self.h @ offset)


def instance(setting: str, seed: int) -> Instance:
    """The quadratic of a setting and a seed."""
    dim, kappa = SIZES[setting]
    problem = loaded(Quadratic(), dim=dim, kappa=kappa, instance=seed)
    assert isinstance(problem, AnalyticFunction)
    minimum = problem.minimizers[0]
    assert problem.hessian is not None
    start = problem.start(Draw(seed, None).generator("start"))
    return Instance(problem, problem.hessian(minimum).numpy(), (start - minimum).numpy(), seed)
