"""The literature's counterexamples, on the registered problems with the registered optimizers: claims D1, E1 and E2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from thalweg.contracts import Architecture, BuildContext, Draw, LoadContext, LoadedProblem
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry

Array = NDArray[np.float64]


def train(
    registry: Registry,
    problem: tuple[str, dict[str, Any]],
    architecture: tuple[str, dict[str, Any]],
    optimizer: tuple[str, dict[str, Any]],
    steps: int,
    schedule: Callable[[int], float] = lambda _: 1.0,
) -> tuple[LoadedProblem, torch.nn.Module, list[float]]:
    """Full batches in float64, projected after each step; also the first weight after each step."""
    described, (name, given) = registry.problem(problem[0]), optimizer
    options = resolve(described.options, problem[1], "x")
    loaded = described.load(options, LoadContext(torch.device("cpu"), torch.float64))
    built: Architecture = registry.architecture(architecture[0])
    module = built.build(resolve(built.options, architecture[1], "x"), described.shape(options)).double()
    draw = Draw(0, None)
    loaded.initialize(module, draw)
    method = registry.optimizer(name)
    stepper = method.build(module, resolve(method.options, given, name), BuildContext(0, 1, 1))
    lr, objective = stepper.lr, Objective(module, loaded, draw)
    (weights,) = module.parameters()
    path = []
    for step in range(steps):
        stepper.lr = lr * schedule(step + 1)
        objective.begin_step(loaded.batch("train", step, draw), step)
        stepper.step(objective)
        loaded.project(module.parameters())
        path.append(weights.flatten()[0].item())
    return loaded, module, path


def play(rule: str, c: Array, start: Array, alpha: Array, beta2: Array, steps: int) -> Array:
    """x_t in [-1, 1] of many games at once, (steps, games): slope c at t mod 3 = 1, else -1."""
    x, v, largest, path = start, np.zeros_like(c), np.zeros_like(c), np.empty((steps, len(c)))
    for t in range(1, steps + 1):
        g = c if t % 3 == 1 else -np.ones_like(c)
        match rule:
            case "sgd":
                step = alpha / np.sqrt(t) * g
            case "adagrad":
                v = v + g**2
                step = alpha * g / np.sqrt(v)
            case _:
                v = beta2 * v + (1 - beta2) * g**2
                largest = np.maximum(largest, v)
                step = alpha / np.sqrt(t) * g / np.sqrt(v if rule == "adam-rkk18" else largest)
        x = np.clip(x - step, -1.0, 1.0)
        path[t - 1] = x
    return path


GAMES = [(c, start) for c in (3.0, 4.0, 10.0) for start in (1.0, 0.0, -1.0)]
TAILS = {"adam-rkk18": 1.0, "amsgrad-rkk18": -1.0, "sgd": -1.0, "adagrad": -1.0}


def game_settings() -> dict[str, Array]:
    c, start = (np.array(column) for column in zip(*GAMES, strict=True))
    beta2 = 1 / (1 + c**2)
    return {"c": c, "start": start, "alpha": 0.9 * np.sqrt(1 - beta2), "beta2": beta2}


@pytest.mark.parametrize("name", TAILS)
def test_d1_the_plain_loop_is_the_registered_problem_with_the_registered_optimizer(
    registry: Registry, name: str
) -> None:
    """For 3,000 steps, so that the loop may speak for the 30,000 of the claim; one start for each C, or for one."""
    settings = game_settings()
    path = play(name, **settings, steps=3000)
    for game in (0, 4, 8) if "rkk18" in name else (4,):
        lr, beta2 = settings["alpha"][game], settings["beta2"][game]
        given = {"lr": lr, "beta1": 0.0, "beta2": beta2} if "rkk18" in name else {"lr": lr}
        given |= {"eps": 0.0} if name == "adagrad" else {}
        decay = (lambda t: 1 / math.sqrt(t)) if name == "sgd" else (lambda _: 1.0)
        problem = ("rkk18", {"c": GAMES[game][0], "start": GAMES[game][1]})
        _, _, found = train(registry, problem, ("point", {}), (name, given), 3000, decay)
        # steps of a few roundings each, on a path that the projection forgets now and then
        np.testing.assert_allclose(found, path[:, game], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", TAILS)
def test_d1_adam_converges_to_the_worst_point_and_the_others_to_the_best(name: str) -> None:
    settings = game_settings()
    path = play(name, **settings, steps=30_000)
    tail = path[-3000:].mean(0)
    if name == "adam-rkk18":
        assert (tail > 0.99).all()
        # average regret against x = -1, whose loss per period is -(C - 2)
        slopes = np.where(np.arange(30_000)[:, None] % 3 == 0, settings["c"], -1.0)
        x = np.vstack([settings["start"], path[:-1]])
        regret = (slopes * (x + 1)).mean(0)
        np.testing.assert_allclose(regret, (2 * settings["c"] - 4) / 3, rtol=0.02)
    else:
        assert (tail < -0.99).all()


WILSON = ("linear", {"bias": False, "init": "zero"})


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_e1_gradient_descent_finds_the_minimum_norm_solution_and_classifies_all(
    registry: Registry, share: float
) -> None:
    loaded, module, _ = train(registry, ("wrs17", {"share": share}), WILSON, ("sgd", {"lr": 0.3}), 1500)
    assert isinstance(loaded, Supervised)
    (x, y), (w,) = loaded.data["train"], module.parameters()
    shortest = x.T @ torch.linalg.solve(x @ x.T, y)
    assert torch.linalg.norm(w.T - shortest) < 1e-10 * torch.linalg.norm(shortest)
    assert loaded.evaluate(module, "test")["accuracy"] == 1.0


@pytest.mark.parametrize("share", [0.6, 0.9])
@pytest.mark.parametrize(
    ("name", "lr", "decay"),
    [("adagrad", 0.02, 1.0), ("rmsprop", 0.003, 0.99), ("adam", 0.003, 0.995)],
)
def test_e2_adaptive_methods_find_the_signs_and_predict_the_majority(
    registry: Registry, name: str, lr: float, decay: float, share: float
) -> None:
    """A constant rate would let RMSProp hover, so it decays; the default eps is far below 2/n = 0.01."""
    loaded, module, _ = train(
        registry, ("wrs17", {"share": share}), WILSON, (name, {"lr": lr}), 1000, lambda t: decay**t
    )
    assert isinstance(loaded, Supervised)
    (x, y), (w,) = loaded.data["train"], module.parameters()
    signs = (x.T @ y).sign().flatten()
    assert torch.nn.functional.cosine_similarity(w.flatten(), signs, dim=0) >= 0.999
    assert loaded.evaluate(module, "train")["accuracy"] == 1.0
    assert loaded.evaluate(module, "train")["loss"] < 1e-3
    assert loaded.evaluate(module, "test")["accuracy"] == pytest.approx(share, abs=0.005)
