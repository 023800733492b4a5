"""The lecture's literal forms differ from torch's by exactly the factors that their descriptions name; claim C2."""

from __future__ import annotations

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

Array = NDArray[np.float64]


class Bench:
    """An optimizer that sees given gradients (T, D), whatever its weights are."""

    def __init__(self, registry: Registry, name: str, gradients: Array, **given: Any) -> None:
        self.gradients = torch.from_numpy(gradients)
        self.now = 0
        self.draw = Draw(0, None)
        self.problem = AnalyticFunction(lambda x: self.gradients[self.now] @ x, lambda _: torch.zeros(1).double())
        self.module = (
            registry.architecture("point").build({"tensors": 1}, Shape("function", (), gradients.shape[1:])).double()
        )
        self.objective = Objective(self.module, self.problem, self.draw)
        optimizer = registry.optimizer(name)
        values = resolve(optimizer.options, given, name)
        self.stepper = optimizer.build(self.module, values, BuildContext(0, 1, 1))

    def steps(self) -> Array:
        """All steps (T, D); each is taken from 0, so that it is not rounded to the size of a weight."""
        (x,) = self.module.parameters()
        taken = []
        for now in range(len(self.gradients)):
            self.now = now
            with torch.no_grad():
                x.zero_()
            self.objective.begin_step(self.problem.batch("train", now, self.draw), now)
            self.stepper.step(self.objective)
            taken.append(x.detach().numpy().copy())
        return np.array(taken)


@pytest.fixture
def gradients() -> Array:
    return np.random.default_rng(0).standard_normal((100, 5))


def test_adagrad_of_the_lecture_differs_by_the_root_of_one_more_square(registry: Registry, gradients: Array) -> None:
    lecture = Bench(registry, "adagrad-lecture", gradients, lr=0.1, eps=0.0).steps()
    usual = Bench(registry, "adagrad", gradients, lr=0.1, eps=0.0).steps()
    r = np.cumsum(gradients**2, 0)
    assert (lecture[0] == 0).all()
    np.testing.assert_allclose(lecture[1:] / usual[1:], np.sqrt(r[1:] / r[:-1]), rtol=1e-12)


@pytest.mark.parametrize("rho", [0.5, 0.99])
def test_rmsprop_of_the_lecture_has_a_sum_for_a_mean(registry: Registry, gradients: Array, rho: float) -> None:
    lecture = Bench(registry, "rmsprop-lecture", gradients, rho=rho)
    usual = Bench(registry, "rmsprop", gradients, alpha=rho)
    lecture.steps()
    usual.steps()
    v_lecture = lecture.stepper.state_dict()["slots"]["v"].numpy()
    v_usual = usual.stepper.state_dict()["state"][0]["square_avg"].numpy()
    np.testing.assert_allclose(v_lecture, rho / (1 - rho) * v_usual, rtol=1e-12)


def test_rmsprop_of_the_lecture_steps_alike_at_the_translated_rate(registry: Registry) -> None:
    """In a steady state, here of a constant gradient, lr sqrt(rho / (1 - rho)) makes the steps of lr."""
    constant = np.full((3000, 1), 0.3)
    lecture = Bench(registry, "rmsprop-lecture", constant, lr=0.01 * np.sqrt(0.99 / 0.01), rho=0.99, eps=0.0).steps()
    usual = Bench(registry, "rmsprop", constant, lr=0.01, alpha=0.99, eps=0.0).steps()
    np.testing.assert_allclose(lecture[-1], usual[-1], rtol=1e-12)


def test_adam_of_the_lecture_has_its_constant_inside_the_root(registry: Registry, gradients: Array) -> None:
    eps, delta = 0.01, 0.02
    lecture = Bench(registry, "adam-lecture", gradients, delta=delta).steps()
    usual = Bench(registry, "adam", gradients, eps=eps).steps()
    v = np.zeros(5)
    factors = []
    for t, g in enumerate(gradients, start=1):
        v = 0.999 * v + 0.001 * g**2
        v_hat = v / (1 - 0.999**t)
        factors.append((np.sqrt(v_hat) + eps) / np.sqrt(v_hat + delta))
    np.testing.assert_allclose(lecture / usual, factors, rtol=1e-11)


@pytest.mark.parametrize("name", ["adagrad-lecture", "rmsprop-lecture"])
def test_a_weight_without_a_gradient_so_far_takes_no_step(registry: Registry, name: str) -> None:
    """0/0 of the lecture's formula; the first gradient that is not zero comes third."""
    gradients = np.array([[0.0], [0.0], [2.0], [3.0]])
    for eps in (0.0, 0.1):
        steps = Bench(registry, name, gradients, eps=eps).steps()
        assert (steps[:3] == 0).all()
        assert np.isfinite(steps[3]).all()
        assert (steps[3] < 0).all()


@pytest.mark.parametrize("name", ["adam-rkk18", "amsgrad-rkk18"])
def test_zero_by_zero_counts_as_zero(registry: Registry, name: str) -> None:
    steps = Bench(registry, name, np.array([[0.0], [0.0], [2.0]])).steps()
    assert steps[:2].tolist() == [[0.0], [0.0]]
    assert np.isfinite(steps[2]).all()


@pytest.mark.parametrize(
    ("name", "given", "steps", "slope"),
    [
        ("adagrad", {}, 3000, -0.5),
        ("adagrad-lecture", {"eps": 0.0}, 3000, -0.5),
        ("rmsprop", {}, 3000, 0.0),
        ("rmsprop-lecture", {}, 3000, 0.0),
        ("adam", {"beta2": 0.99}, 3000, 0.0),
        ("adam-lecture", {"beta2": 0.99}, 3000, 0.0),
    ],
)
def test_c2_only_adagrads_step_falls_under_a_constant_gradient(
    registry: Registry, name: str, given: dict[str, Any], steps: int, slope: float
) -> None:
    sizes = np.abs(Bench(registry, name, np.full((steps, 1), 0.7), **given).steps()[:, 0])
    t = np.arange(1000, steps + 1)  # from 10 / (1 - rho) on
    assert np.polyfit(np.log(t), np.log(sizes[t - 1]), 1)[0] == pytest.approx(slope, abs=0.01)
