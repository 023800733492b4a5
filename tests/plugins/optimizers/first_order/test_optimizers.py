"""Each optimizer against its own formula, in float64 and by hand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.contracts import BuildContext, Draw, Shape
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial
from thalweg_plugins.claims.adaptive import loops
from thalweg_plugins.claims.adaptive.loops import Gradient, Vector
from thalweg_plugins.optimizers import FIRST_ORDER

STEPS = 100


def schedule_free_adamw(w: Vector, g: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    x, z, v, total = w, w, np.zeros_like(w), 0.0
    for t in count(1):
        y = (1 - h["beta1"]) * z + h["beta1"] * x
        v = h["beta2"] * v + (1 - h["beta2"]) * g(y) ** 2
        lr = h["lr"] * min(1, t / h["warmup"])
        z = z - lr * g(y) / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"]) - lr * h["weight_decay"] * y
        total += lr**2
        c = lr**2 / total
        x = (1 - c) * x + c * z
        yield x


COUPLED = {"weight_decay": 0.1}
LOOPS = {**loops.LOOPS, "schedule-free-adamw": schedule_free_adamw}
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOOPS),
    *((name, COUPLED) for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "amsgrad", "nadam")),
    ("adamw", {"weight_decay": 0.1, "beta2": 0.9}),
    ("lion", {"weight_decay": 0.1, "beta1": 0.5}),
    ("nadam", {"momentum_decay": 0.1}),
    ("schedule-free-adamw", {"warmup": 1}),
    ("schedule-free-adamw", {"warmup": 30, "weight_decay": 0.1}),
    ("adagrad-lecture", {"eps": 0.0}),
    ("rmsprop-lecture", {"eps": 0.1, "rho": 0.9}),
    ("adam-lecture", {"delta": 0.1}),
    ("adam-rkk18", {"beta1": 0.0, "beta2": 0.5}),
    ("amsgrad-rkk18", {"beta1": 0.5, "beta2": 0.5}),
]


@pytest.mark.parametrize(("name", "given"), CASES, ids=str)
def test_equals_a_hand_written_loop_of_its_formula(registry: Registry, name: str, given: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((6, 6))
    hessian, b, start = a @ a.T / 6, random.standard_normal(6), random.standard_normal(6)
    h, c = torch.from_numpy(hessian), torch.from_numpy(b)
    problem = AnalyticFunction(lambda x: 0.5 * x @ h @ x - c @ x, lambda _: torch.from_numpy(start))
    module = registry.architecture("point").build({"tensors": 1}, Shape("function", (), (6,))).double()
    draw = Draw(0, None)
    problem.initialize(module, draw)
    optimizer = registry.optimizer(name)
    values = resolve(optimizer.options, {"lr": 0.02} | given, "x")
    stepper = optimizer.build(module, values, BuildContext(0, 1, 1))
    objective = Objective(module, problem, draw)
    for step in range(STEPS):
        objective.begin_step(problem.batch("train", step, draw), step)
        stepper.step(objective)
    penalty = given["weight_decay"] if given == COUPLED else 0.0
    path = LOOPS[name](start, lambda w: hessian @ w - b + penalty * w, values)
    *_, expected = itertools.islice(path, STEPS)
    with stepper.evaluation_weights():
        (point,) = module.parameters()
        # 100 steps of a few roundings each
        np.testing.assert_allclose(point.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    assert objective.counts.gradient_evaluations == STEPS


def test_every_elementwise_method_has_a_hand_written_loop() -> None:
    assert set(LOOPS) == {optimizer.name for optimizer in FIRST_ORDER if optimizer.elementwise}


def test_lbfgs_minimises_a_quadratic_to_rounding(registry: Registry) -> None:
    module = registry.architecture("point").build({"tensors": 1}, Shape("function", (), (5,))).double()
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
    module = registry.architecture("point").build({"tensors": 1}, Shape("function", (), (3,))).double()
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
