"""The noise scale and sharpness against dense matrices and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from probing import context, function, ref, trained
from thalweg.contracts.option import resolve
from thalweg.curvature import flat
from thalweg.registry import Registry
from thalweg.testing.small import network, problem
from thalweg_plugins.probes.noise_scale import estimates
from thalweg_plugins.probes.sharpness import AVERAGE, BOUND, RESTART
from thalweg_plugins.problems.quadratic import Quadratic


def measure(registry: Registry, name: str, it: Any, seed: int = 0, **given: Any) -> pd.DataFrame:
    return registry.probe(name).measure(context(registry, name, *it, seed=seed, **given))


def values(table: pd.DataFrame, quantity: str, column: str) -> list[float]:
    found: list[float] = table.loc[table["quantity"] == quantity, column].tolist()
    return found


def test_both_parts_of_the_noise_scale_are_unbiased(registry: Registry) -> None:
    it = (problem(torch.float64), network(torch.float64))
    objective = context(registry, "noise-scale", *it).objective_on()
    x, y = objective.batch.inputs, objective.batch.targets
    assert x is not None
    assert y is not None
    losses = nn.functional.cross_entropy(objective.module(x), y, reduction="none")
    gradients = torch.stack(
        [flat(torch.autograd.grad(each, objective.parameters, retain_graph=True)) for each in losses]
    )
    mean = gradients.mean(0)
    trace, norm = float((gradients - mean).square().sum(1).mean()), float(mean.square().sum())
    table = measure(registry, "noise-scale", it, small=2, big=16, draws=400)
    for quantity, exact in (("tr(Sigma)", trace), ("||G||^2", norm)):
        (value,), (high,) = (values(table, quantity, column) for column in ("value", "high"))
        assert abs(value - exact) < 4 * (high - value) / 1.966  # four standard errors
        assert value == pytest.approx(exact, rel=0.1)
    (low,), (high,) = (values(table, "noise scale", column) for column in ("low", "high"))
    assert low < trace / norm < high
    assert values(table, "noise scale", "value")[0] == pytest.approx(trace / norm, rel=0.15)


def test_fiellers_interval_covers_the_ratio_and_is_missing_where_the_gradient_may_be_zero() -> None:
    generator, hits = np.random.default_rng(0), 0
    for _ in range(400):
        pairs = generator.normal([6.0, 2.0], [3.0, 1.5], (20, 2))
        _, low, high = estimates(pairs)["noise scale"]
        hits += low <= 3 <= high
    # 380 of 400 are expected, with a standard deviation of 4.4
    assert 365 <= hits <= 395
    _, low, high = estimates(generator.normal([6.0, -0.1], [3.0, 1.5], (20, 2)))["noise scale"]
    assert math.isnan(low)
    assert math.isnan(high)


def test_a_function_has_no_noise(registry: Registry) -> None:
    table = measure(registry, "noise-scale", function(registry, "quadratic", dim=1))
    assert values(table, "noise scale", "value") == [pytest.approx(0, abs=1e-12)]


def test_batches_that_do_not_divide_are_refused(registry: Registry) -> None:
    probe = registry.probe("noise-scale")
    assert probe.misfit(resolve(probe.options, {}, "x")) is None
    for given in ({"small": 100}, {"small": 256}):
        assert "no multiple" in str(probe.misfit(resolve(probe.options, given, "x")))


def maximum(hessian: torch.Tensor, g: torch.Tensor, radius: float) -> float:
    """max g'd + d'Hd/2 over ||d|| <= radius: (mu I - H) d = g with ||d|| = radius, mu > lambda_max, by bisection."""
    values, q = torch.linalg.eigh(hessian)
    rotated = q.T @ g
    low, high = float(values[-1]), float(values[-1] + g.norm() / radius)
    for _ in range(200):
        mu = (low + high) / 2
        low, high = (mu, high) if float((rotated / (mu - values)).norm()) > radius else (low, mu)
    d = rotated / (high - values)
    return float(rotated @ d + 0.5 * (values * d) @ d)


@pytest.mark.parametrize("dim", [1, 20])
def test_the_rise_of_a_quadratic_is_found_and_not_exceeded(registry: Registry, dim: int) -> None:
    loaded, module = function(registry, "quadratic", dim=dim)
    hessian, minimum = Quadratic().hessian_and_minimum(resolve(Quadratic.options, {"dim": dim}, "x"))
    w = flat(module.parameters()).detach()
    table = measure(registry, "sharpness", (loaded, module))
    for rho, found in zip((0.01, 0.05), values(table, BOUND, "rise"), strict=True):
        exact = maximum(hessian, hessian @ (w - minimum), rho * float(w.norm()))
        assert 0.95 * exact <= found <= exact * (1 + 1e-9)
    for rho, value, high in zip(
        (0.01, 0.05), values(table, AVERAGE, "rise"), values(table, AVERAGE, "high"), strict=True
    ):
        expected = rho**2 * float(w.square().sum() * hessian.trace()) / (2 * dim)
        assert abs(value - expected) < 2 * (high - value)  # four standard errors


def test_at_a_minimum_random_starts_find_the_rise(registry: Registry) -> None:
    """There the gradient is zero and the first run stays where it is."""
    loaded, module = function(registry, "quadratic", dim=20)
    _, minimum = Quadratic().hessian_and_minimum(resolve(Quadratic.options, {}, "x"))
    with torch.no_grad():
        next(module.parameters()).copy_(minimum)
    table = measure(registry, "sharpness", (loaded, module))
    exact = 0.5 * 100 * 0.05**2 * float(minimum.square().sum())
    assert 0.95 * exact <= values(table, BOUND, "rise")[1] <= exact * (1 + 1e-9)


def test_rescaling_a_filter_before_batch_norm_changes_nothing(registry: Registry) -> None:
    data, module = problem(torch.float64), network(torch.float64)
    module[1].eps = 1e-14  # type: ignore[index]
    before = measure(registry, "sharpness", (data, module), batch_norm="batch")
    with torch.no_grad():
        module[0].weight.mul_(torch.logspace(-1, 1, 8).double()[:, None])  # type: ignore[index]
    after = measure(registry, "sharpness", (data, module), batch_norm="batch")
    np.testing.assert_allclose(after["rise"], before["rise"], rtol=1e-6)
    best = before[before["quantity"] == RESTART].groupby("rho")["rise"].max().tolist()
    assert values(before, BOUND, "rise") == best


def test_a_loss_that_is_not_finite_is_an_error(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=2)
    with torch.no_grad():
        next(module.parameters()).fill_(math.inf)
    for name in ("sharpness", "noise-scale"):
        with pytest.raises(ValueError, match=r"not finite|loss is"):
            measure(registry, name, (loaded, module))


ARCHITECTURES = [ref("mlp", widths=[8]), ref("resnet", depth=8, width=2)]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.name)
def test_they_run_through_training(registry: Registry, architecture: Any) -> None:
    noise = trained(registry, "noise-scale", architecture, draws=2, small=4, big=8)
    assert noise["step"].unique().tolist() == [0]
    sharp = trained(registry, "sharpness", architecture, examples=32, steps=2, restarts=2, pairs=2)
    assert (sharp[sharp["quantity"] == BOUND]["rise"] >= 0).all()
    assert "lower bound" in str(registry.probe("sharpness").chart(sharp).to_dict()["title"])
