"""Each optimizer against its own formula, in float64 and by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from thalweg.contracts import BuildContext, Draw, Shape
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial
from thalweg_plugins.optimizers import FIRST_ORDER

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


def amsgrad(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    m, v, largest = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t in steps:
        m = h["beta1"] * m + (1 - h["beta1"]) * g(w)
        v = h["beta2"] * v + (1 - h["beta2"]) * g(w) ** 2
        largest = np.maximum(largest, v)
        m_hat, v_hat = m / (1 - h["beta1"] ** t), largest / (1 - h["beta2"] ** t)
        w = w - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"])
    return w


def adamw(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in steps:
        m = h["beta1"] * m + (1 - h["beta1"]) * g(w)
        v = h["beta2"] * v + (1 - h["beta2"]) * g(w) ** 2
        m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
        w = w - h["lr"] * (m_hat / (np.sqrt(v_hat) + h["eps"]) + h["weight_decay"] * w)
    return w


def nadam(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    def mu(t: int) -> float:
        return float(h["beta1"] * (1 - 0.5 * 0.96 ** (t * h["momentum_decay"])))

    m, v = np.zeros_like(w), np.zeros_like(w)
    product = np.float32(1.0)
    for t in steps:
        gradient = g(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * gradient
        v = h["beta2"] * v + (1 - h["beta2"]) * gradient**2
        # torch keeps the product in single precision, whatever the weights are in
        product = product * np.float32(mu(t))
        following = float(product) * mu(t + 1)
        m_hat = mu(t + 1) * m / (1 - following) + (1 - mu(t)) * gradient / (1 - float(product))
        w = w - h["lr"] * m_hat / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"])
    return w


def lion(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    m = np.zeros_like(w)
    for _ in steps:
        gradient = g(w)
        w = w - h["lr"] * (np.sign(h["beta1"] * m + (1 - h["beta1"]) * gradient) + h["weight_decay"] * w)
        m = h["beta2"] * m + (1 - h["beta2"]) * gradient
    return w


def schedule_free_adamw(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    x, z, v, total = w, w, np.zeros_like(w), 0.0
    for t in steps:
        y = (1 - h["beta1"]) * z + h["beta1"] * x
        v = h["beta2"] * v + (1 - h["beta2"]) * g(y) ** 2
        lr = h["lr"] * min(1, t / h["warmup"])
        z = z - lr * g(y) / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"]) - lr * h["weight_decay"] * y
        total += lr**2
        c = lr**2 / total
        x = (1 - c) * x + c * z
    return x


def adagrad_lecture(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    past: list[Vector] = []
    for _ in steps:
        gradient = g(w)
        if past:  # a sum over nothing is zero, and no weight moves
            w = w - h["lr"] * gradient / (np.sqrt(np.sum(np.square(past), 0)) + h["eps"])
        past.append(gradient)
    return w


def rmsprop_lecture(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    past: list[Vector] = []
    for t in steps:
        gradient = g(w)
        if past:
            weights = h["rho"] ** (t - np.arange(1, t))
            w = w - h["lr"] * gradient / (np.sqrt(weights @ np.square(past)) + h["eps"])
        past.append(gradient)
    return w


def adam_lecture(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in steps:
        m = h["beta1"] * m + (1 - h["beta1"]) * g(w)
        v = h["beta2"] * v + (1 - h["beta2"]) * g(w) ** 2
        m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
        w = w - h["lr"] * m_hat / np.sqrt(v_hat + h["delta"])
    return w


def adam_rkk18(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in steps:
        m = h["beta1"] * m + (1 - h["beta1"]) * g(w)
        v = h["beta2"] * v + (1 - h["beta2"]) * g(w) ** 2
        w = w - h["lr"] / np.sqrt(t) * m / np.sqrt(v)
    return w


def amsgrad_rkk18(steps: Iterator[int], w: Vector, g: Callable[[Vector], Vector], h: dict[str, Any]) -> Vector:
    m, v, v_hat = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t in steps:
        m = h["beta1"] * m + (1 - h["beta1"]) * g(w)
        v = h["beta2"] * v + (1 - h["beta2"]) * g(w) ** 2
        v_hat = np.maximum(v_hat, v)
        w = w - h["lr"] / np.sqrt(t) * m / np.sqrt(v_hat)
    return w


COUPLED = {"weight_decay": 0.1}
CASES: list[tuple[Rule, dict[str, Any]]] = [
    *((rule, {}) for rule in (sgd, momentum, nesterov, adagrad, rmsprop, adam, amsgrad, adamw, nadam, lion)),
    *((rule, COUPLED) for rule in (sgd, momentum, nesterov, adagrad, rmsprop, adam, amsgrad, nadam)),
    (adamw, {"weight_decay": 0.1, "beta2": 0.9}),
    (lion, {"weight_decay": 0.1, "beta1": 0.5}),
    (nadam, {"momentum_decay": 0.1}),
    (schedule_free_adamw, {"warmup": 1}),
    (schedule_free_adamw, {"warmup": 30, "weight_decay": 0.1}),
    *((rule, {}) for rule in (adagrad_lecture, rmsprop_lecture, adam_lecture, adam_rkk18, amsgrad_rkk18)),
    (adagrad_lecture, {"eps": 0.0}),
    (rmsprop_lecture, {"eps": 0.1, "rho": 0.9}),
    (adam_lecture, {"delta": 0.1}),
    (adam_rkk18, {"beta1": 0.0, "beta2": 0.5}),
    (amsgrad_rkk18, {"beta1": 0.5, "beta2": 0.5}),
]


@pytest.mark.parametrize(("rule", "given"), CASES, ids=lambda case: getattr(case, "__name__", str(case)))
def test_equals_a_hand_written_loop_of_its_formula(registry: Registry, rule: Rule, given: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((6, 6))
    hessian, b, start = a @ a.T / 6, random.standard_normal(6), random.standard_normal(6)
    h, c = torch.from_numpy(hessian), torch.from_numpy(b)
    problem = AnalyticFunction(lambda x: 0.5 * x @ h @ x - c @ x, lambda _: torch.from_numpy(start))
    module = registry.architecture("point").build({}, Shape("function", (), (6,))).double()
    draw = Draw(0, None)
    problem.initialize(module, draw)
    optimizer = registry.optimizer(rule.__name__.replace("_", "-"))
    values = resolve(optimizer.options, {"lr": 0.02} | given, "x")
    stepper = optimizer.build(module, values, BuildContext(0, 1, 1))
    objective = Objective(module, problem, draw)
    for step in range(STEPS):
        objective.begin_step(problem.batch("train", step, draw), step)
        stepper.step(objective)
    penalty = given["weight_decay"] if given == COUPLED else 0.0
    expected = rule(iter(range(1, STEPS + 1)), start, lambda w: hessian @ w - b + penalty * w, values)
    with stepper.evaluation_weights():
        (point,) = module.parameters()
        # 100 steps of a few roundings each
        np.testing.assert_allclose(point.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    assert objective.counts.gradient_evaluations == STEPS


def test_every_elementwise_method_has_a_hand_written_loop() -> None:
    by_hand = {rule.__name__.replace("_", "-") for rule, _ in CASES}
    assert by_hand == {optimizer.name for optimizer in FIRST_ORDER if optimizer.elementwise}


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


@pytest.mark.parametrize("name", [optimizer.name for optimizer in FIRST_ORDER])
def test_trains_digits_at_its_defaults(registry: Registry, name: str) -> None:
    """Five epochs of digits-mlp, in batches of 32 and float32: the loss is less than half of what it was, about 2.5."""
    trial = Trial(
        problem=ComponentRef(name="digits", provider="p"),
        architecture=ComponentRef(name="mlp", provider="p"),
        optimizer=ComponentRef(name=name, provider="p"),
        budget=Budget(epochs=5),
        batch_size=32,
        validation_fraction=0.2,
        seed=0,
    )
    it = assemble(trial, registry)
    start = it.problem.evaluate(it.module, "train")["loss"]
    for step in range(5 * it.problem.steps_per_epoch(32)):
        it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
        it.stepper.step(it.objective)
    with it.stepper.evaluation_weights():
        assert it.problem.evaluate(it.module, "train")["loss"] < start / 2
    if registry.optimizer(name).elementwise:
        declared = re.search(r"(\d) numbers? of state per parameter", registry.optimizer(name).cost)
        held = it.stepper.state_bytes() / sum(parameter.numel() * 4 for parameter in it.module.parameters())
        # the number of steps is a few bytes besides
        assert held == pytest.approx(int(declared[1]) if declared else 0, abs=0.01)


@pytest.mark.parametrize("name", ["lion", "adam-rkk18", "amsgrad-rkk18", "adagrad-lecture", "schedule-free-adamw"])
def test_a_gradient_of_nan_is_not_hidden(registry: Registry, name: str) -> None:
    module = registry.architecture("point").build({}, Shape("function", (), (3,))).double()
    (point,) = module.parameters()
    poison = torch.ones(3).double()
    problem = AnalyticFunction(lambda x: (poison * x).sum() ** 2, lambda _: torch.ones(3).double())
    draw = Draw(0, None)
    problem.initialize(module, draw)
    optimizer = registry.optimizer(name)
    stepper = optimizer.build(module, resolve(optimizer.options, {}, "x"), BuildContext(0, 1, 1))
    objective = Objective(module, problem, draw)
    for step in range(4):
        poison[1] = float("nan") if step == 2 else 1.0
        objective.begin_step(problem.batch("train", step, draw), step)
        stepper.step(objective)
    assert bool(point.isnan().any())
