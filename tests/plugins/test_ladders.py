"""The problems of the benchmark ``ladders``, against what their formulas say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.contracts import Draw, LoadContext, LoadedProblem
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg_plugins.problems.ladders import LADDERS
from thalweg_plugins.problems.ladders._functions import SampledFunction

LEVELS = range(1, 7)
NAMES = [problem.name for problem in LADDERS]


def load(registry: Registry, name: str, level: int) -> Any:
    problem = registry.problem(name)
    options = resolve(problem.options, {"level": level}, name)
    return problem.load(options, LoadContext(torch.device("cpu"), torch.float64))


def point(registry: Registry, loaded: LoadedProblem, seed: int, tensors: int = 1) -> torch.nn.Module:
    architecture = registry.architecture("point")
    shape = registry.problem("ladder-noise").shape({})
    module = architecture.build({"tensors": tensors}, shape).double()
    loaded.initialize(module, Draw(seed, 1))
    return module


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ladder-moving", "ladder-plateau")])
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_starts_at_five(registry: Registry, name: str, level: int) -> None:
    loaded = load(registry, name, level)
    values = [float(loaded.f(loaded.start(Draw(seed, None).generator("start")))) for seed in range(600)]
    # half of a chi-squared of 10 (8 for saddles) degrees: deviation 5^(1/2), so 600 starts miss 5 by 0.09
    assert abs(np.mean(values) - 5) < 0.35


def test_a_plateau_starts_just_below_five(registry: Registry) -> None:
    for level in LEVELS:
        loaded = load(registry, "ladder-plateau", level)
        x = loaded.start(Draw(0, None).generator("start"))
        assert float(loaded.f(x)) == pytest.approx(sum(0.5 * v * v / (1 + v * v) for v in x.tolist()), rel=1e-12)
        assert 0.5 * 3.0**level < float(x.abs().min()) < float(x.abs().max()) < 1.5 * 3.0**level


@pytest.mark.parametrize("level", LEVELS)
def test_condition_numbers_grow_tenfold_and_directions_share_the_value(registry: Registry, level: int) -> None:
    loaded = load(registry, "ladder-conditioning", level)
    eigenvalues, vectors = torch.linalg.eigh(loaded.hessian(torch.zeros(10, dtype=torch.float64)))
    assert float(eigenvalues[-1] / eigenvalues[0]) == pytest.approx(10.0**level, rel=1e-6)
    starts = torch.stack([loaded.start(Draw(seed, None).generator("start")) for seed in range(500)])
    shares = (0.5 * eigenvalues * (starts @ vectors) ** 2).mean(dim=0)
    assert torch.allclose(shares, torch.full((10,), 0.5, dtype=torch.float64), atol=0.15)


@pytest.mark.parametrize(("name", "deviation"), [("ladder-noise", 0.1 * 2**3), ("ladder-sparse", None)])
def test_steps_see_the_expectation_in_the_mean(registry: Registry, name: str, deviation: float | None) -> None:
    loaded: SampledFunction = load(registry, name, 3)
    module = point(registry, loaded, 0)
    (x,) = module.parameters()
    gradients = []
    for step in range(4000):
        loss = loaded.loss(module, loaded.batch("train", step, Draw(7, 1)))
        gradients.append(torch.autograd.grad(loss, x)[0])
    seen = torch.stack(gradients)
    if deviation is not None:
        expected = torch.autograd.grad(loaded.f(module()), x)[0]
        assert torch.allclose(seen.std(dim=0), torch.full((10,), deviation, dtype=torch.float64), rtol=0.06)
        assert torch.allclose(seen.mean(dim=0), expected, atol=5 * deviation / 4000**0.5)
    else:
        # the gradient of feature i is p_i x_i in the mean, with p_1 / p_10 = 10^(2 level / 3)
        p = torch.logspace(0, -2, 10, dtype=torch.float64)
        p = p / p.sum()
        assert torch.allclose(seen.mean(dim=0) / x.detach(), p, atol=4 * (0.25 / 32 / 4000) ** 0.5)


def test_tails_get_heavier(registry: Registry) -> None:
    shares = []
    for level in LEVELS:
        loaded = load(registry, "ladder-heavy-tails", level)
        z = torch.stack([loaded.batch("train", step, Draw(0, 1)).inputs for step in range(2000)])
        shares.append(float((z.abs() > 20).double().mean()))
        assert abs(float(z.median())) < 0.05
    assert shares == sorted(shares)
    # P(|t| > 20) with one degree of freedom is 1 - 2 atan(20) / pi
    assert shares[4] == pytest.approx(1 - 2 * math.atan(20) / math.pi, rel=0.1)


@pytest.mark.parametrize("level", LEVELS)
def test_a_saddle_has_the_curvature_that_it_says(registry: Registry, level: int) -> None:
    loaded = load(registry, "ladder-saddle", level)
    hessian = torch.autograd.functional.hessian(loaded.f, torch.zeros(10, dtype=torch.float64))
    g = 10.0 ** (-level / 2)
    assert torch.allclose(hessian, torch.diag(torch.tensor([-g, -g, *[1.0] * 8], dtype=torch.float64)), atol=1e-12)
    bottom = torch.zeros(10, dtype=torch.float64)
    bottom[:2] = (2 / g) ** 0.5
    assert float(loaded.f(bottom)) == pytest.approx(0, abs=1e-20)


def test_a_point_that_rests_in_the_middle_of_a_moving_minimum_pays_five(registry: Registry) -> None:
    loaded = load(registry, "ladder-moving", 6)
    module = point(registry, loaded, 0)
    (x,) = module.parameters()
    assert torch.equal(x.detach(), loaded.batch("train", 0, Draw(0, 1)).inputs)
    with torch.no_grad():
        x.zero_()
    period = 2 * math.pi / 0.64
    steps = round(200 * period)
    total = sum(float(loaded.loss(module, loaded.batch("train", step, Draw(0, 1))).detach()) for step in range(steps))
    assert loaded.online_metrics(steps, total, Draw(0, 1))["mean_loss"] == pytest.approx(5, rel=0.01)
    assert loaded.evaluate(module, "train")["loss"] == pytest.approx(5, rel=1e-9)


def test_layers_differ_in_scale_and_lie_in_tensors_of_their_own(registry: Registry) -> None:
    loaded = load(registry, "ladder-scales", 4)
    one, two = point(registry, loaded, 3), point(registry, loaded, 3, tensors=2)
    a, b = two.parameters()
    assert (a.shape, b.shape) == ((5,), (5,))
    assert torch.equal(one(), two())
    ga, gb = torch.autograd.grad(loaded.f(two()), (a, b))
    assert torch.allclose(ga, a)
    assert torch.allclose(gb, 10.0**4 * b)
    with pytest.raises(UserError, match="12"):
        registry.problem("ladder-scales").shape({}) and resolve(
            registry.problem("ladder-scales").options, {"level": 12}, "ladder-scales"
        )


def test_more_tensors_than_variables_do_not_fit(registry: Registry) -> None:
    shape = registry.problem("ladder-scales").shape({})
    assert "at most 10" in (registry.architecture("point").misfit({"tensors": 11}, shape) or "")


@pytest.mark.parametrize("name", ["ladder-noise", "ladder-heavy-tails", "ladder-sparse"])
def test_a_full_batch_is_the_value_itself(registry: Registry, name: str) -> None:
    loaded = load(registry, name, 6)
    module = point(registry, loaded, 0)
    loss = float(loaded.loss(module, loaded.batch("train", 5, Draw(0, None))).detach())
    assert loss == loaded.evaluate(module, "train")["loss"]
