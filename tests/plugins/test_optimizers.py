"""Each optimizer against its own formula, in float64 and by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from thalweg.contracts import BuildContext, Draw, Shape
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.registry import Registry

Vector = NDArray[np.float64]
Rule = Callable[[Iterator[int], Vector, Callable[[Vector], Vector], dict[str, Any]], Vector]
STEPS = 100


def sgd(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    for _ in steps:
        w = w - h["lr"] * g(w)
    return w


def momentum(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    v = np.zeros_like(w)
    for _ in steps:
        v = h["momentum"] * v + g(w)
        w = w - h["lr"] * v
    return w


def nesterov(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    v = np.zeros_like(w)
    for _ in steps:
        gradient = g(w)
        v = h["momentum"] * v + gradient
        w = w - h["lr"] * (gradient + h["momentum"] * v)
    return w


def adagrad(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    total = np.zeros_like(w)
    for _ in steps:
        total = total + g(w) ** 2
        w = w - h["lr"] * g(w) / (np.sqrt(total) + h["eps"])
    return w


def rmsprop(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    v = np.zeros_like(w)
    for _ in steps:
        v = h["alpha"] * v + (1 - h["alpha"]) * g(w) ** 2
        w = w - h["lr"] * g(w) / (np.sqrt(v) + h["eps"])
    return w


def adam(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in steps:
        m = h["beta1"] * m + (1 - h["beta1"]) * g(w)
        v = h["beta2"] * v + (1 - h["beta2"]) * g(w) ** 2
        m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
        w = w - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"])
    return w


@pytest.mark.parametrize("rule", [sgd, momentum, nesterov, adagrad, rmsprop, adam], ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_a_hand_written_loop_of_its_formula(registry: Registry, rule: Rule, weight_decay: float) -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((6, 6))
    hessian, b, start = a @ a.T / 6, random.standard_normal(6), random.standard_normal(6)
    h, c = torch.from_numpy(hessian), torch.from_numpy(b)
    problem = AnalyticFunction(lambda x: 0.5 * x @ h @ x - c @ x, lambda _: torch.from_numpy(start))
    module = registry.architecture("point").build({}, Shape("function", (), (6,))).double()
    draw = Draw(0, None)
    problem.initialize(module, draw)
    optimizer = registry.optimizer(rule.__name__)
    values = resolve(optimizer.options, {"lr": 0.02, "weight_decay": weight_decay}, "x")
    stepper = optimizer.build(module, values, BuildContext(0, 1, 1))
    objective = Objective(module, problem, draw)
    for step in range(STEPS):
        objective.begin_step(problem.batch("train", step, draw), step)
        stepper.step(objective)
    expected = rule(iter(range(1, STEPS + 1)), start, lambda w: hessian @ w - b + weight_decay * w, values)
    (point,) = module.parameters()
    # 100 steps of a few roundings each
    np.testing.assert_allclose(point.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_lbfgs_minimises_a_quadratic_to_rounding(registry: Registry) -> None:
    module = registry.architecture("point").build({}, Shape("function", (), (5,))).double()
    eigenvalues = torch.tensor([1.0, 3.0, 10.0, 30.0, 100.0]).double()
    problem = AnalyticFunction(lambda x: 0.5 * (eigenvalues * x) @ x, lambda _: torch.ones(5).double())
    draw = Draw(0, None)
    problem.initialize(module, draw)
    optimizer = registry.optimizer("lbfgs")
    stepper = optimizer.build(module, resolve(optimizer.options, {}, "x"), BuildContext(0, 1, 1))
    objective = Objective(module, problem, draw)
    for step in range(12):
        objective.begin_step(problem.batch("train", step, draw), step)
        stepper.step(objective)
    assert problem.evaluate(module, "train")["loss"] < 1e-20
    assert objective.counts.gradient_evaluations > 12
