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
from thalweg import curvature
from thalweg.contracts.losses import SquaredError
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import flat
from thalweg.registry import Registry
from thalweg.testing.small import network, problem
from thalweg_plugins.probes.noise_scale import estimates
from thalweg_plugins.probes.sharpness import AVERAGE, BOUND, RESTART
from thalweg_plugins.problems.quadratic import Quadratic

REPEATED = 200


def measure(registry: Registry, name: str, it: Any, seed: int = 0, **given: Any) -> pd.DataFrame:
    return pd.DataFrame(registry.probe(name).measure(context(registry, name, *it, seed=seed, **given)))


def values(table: pd.DataFrame, quantity: str, column: str) -> list[float]:
    found: list[float] = table.loc[table["quantity"] == quantity, column].tolist()
    return found


def test_a_small_split_is_seen_whole_and_the_noise_scale_is_exact(registry: Registry) -> None:
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
    for big in (5, 256):
        table = measure(registry, "noise-scale", it, small=1, big=big)
        assert set(table["draws"]) == {0}
        for quantity, exact in (("tr(Sigma)", trace), ("||G||^2", norm), ("noise scale", trace / norm)):
            for column in ("value", "low", "high"):
                assert values(table, quantity, column) == [pytest.approx(exact, rel=1e-10)]


def least_squares(n: int) -> tuple[Supervised, nn.Module, float, float]:
    """A linear model z = w'x, w in R^3, of Gaussian data, with tr(Sigma) and ||G||^2: g_i = (w'x_i - y_i) x_i."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    module = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.5, -1.0, 0.25]]))
    y = x @ torch.tensor([1.0, 0.0, -0.5]).double() + torch.randn(n, generator=generator, dtype=torch.float64)
    gradients = (x @ module.weight[0].detach() - y)[:, None] * x
    mean = gradients.mean(0)
    data = Supervised({"train": (x, y[:, None])}, SquaredError(0.5), (LOSS,))
    return data, module, float((gradients - mean).square().sum(1).mean()), float(mean.square().sum())


def test_the_closed_form_of_least_squares() -> None:
    """g = (x'u + e) x with u = w - w*, so G = u, and E ||g||^2 = (d + 2) ||u||^2 + d for unit noise."""
    _, module, trace, norm = least_squares(200_000)
    u = module.weight[0].detach() - torch.tensor([1.0, 0.0, -0.5])
    exact = float(u.square().sum())
    # 200,000 examples: standard errors of about 0.5%
    assert norm == pytest.approx(exact, rel=0.03)
    assert trace == pytest.approx(5 * exact + 3 - exact, rel=0.03)


@pytest.mark.parametrize("singly", [True, False], ids=["single examples", "groups"])
def test_both_parts_of_the_noise_scale_are_unbiased_and_their_intervals_cover(
    registry: Registry, singly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 measurements of 20 draws. The true values belong to the split, which holds more examples than are drawn."""
    if not singly:
        monkeypatch.setattr(curvature, "example_gradients", lambda *_, **__: None)
    data, module, trace, norm = least_squares(2000)
    truth = {"tr(Sigma)": trace, "||G||^2": norm, "noise scale": trace / norm}
    tables = pd.concat(
        [measure(registry, "noise-scale", (data, module), seed, small=8, big=32) for seed in range(REPEATED)]
    )
    assert set(tables["draws"]) == {20}
    for quantity, exact in truth.items():
        rows = tables[tables["quantity"] == quantity]
        inside = (rows["low"] <= exact) & (exact <= rows["high"])
        # 190 of 200 are expected, with a standard deviation of 3.1
        assert int(inside.sum()) >= 178
        if quantity != "noise scale":
            error = float(rows["value"].std()) / REPEATED**0.5
            assert abs(float(rows["value"].mean()) - exact) < 4 * error


def test_single_examples_give_narrower_intervals_than_groups(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same examples. Nearly all of the error of ||G||^2 comes from ||g_c||^2, which both use."""
    data, module, _, _ = least_squares(6000)
    widths = []
    for _ in range(2):
        tables = pd.concat([measure(registry, "noise-scale", (data, module), seed) for seed in range(20)])
        widths.append((tables["high"] - tables["low"]).groupby(tables["quantity"]).mean())
        monkeypatch.setattr(curvature, "example_gradients", lambda *_, **__: None)
    alone, groups = widths
    assert (alone < groups * [0.7, 0.7, 1.01]).all()


def test_examples_that_depend_on_each_other_are_taken_in_groups(registry: Registry) -> None:
    """Batch norm without running statistics has no gradient of one example."""
    module = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)).double()
    table = measure(registry, "noise-scale", (problem(torch.float64), module), small=8, big=16, draws=3)
    assert set(table["draws"]) == {3}
    assert (values(table, "tr(Sigma)", "high")[0] - values(table, "tr(Sigma)", "low")[0]) > 0


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
