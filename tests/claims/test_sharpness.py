"""Claims K2 to K4 and L6: curvature, equal functions, the granulated tau and its bootstrap, and surfaces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn

from made_trials import MadeContext, MadeTrial, value_of
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.problem import Draw
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.curvature import Hessian
from thalweg.landscape import flat
from thalweg_plugins.claims.filters import experiments
from thalweg_plugins.claims.filters.experiments import FACTORS, named
from thalweg_plugins.claims.filters.prediction import (
    FilterNormalisedSharpness,
    bootstrap,
    differing,
    granulated_tau,
    settings_of,
)
from thalweg_plugins.claims.filters.scale import ScaleOfWeights, rescaled
from thalweg_plugins.claims.filters.surfaces import downward, surface
from thalweg_plugins.claims.networks import Network, at_training_loss
from thalweg_plugins.probes.sharpness import Ball

GRID = {
    f"{a}{b}{c}": {"a": float(a), "b": float(b), "c": float(c)}
    for a, b, c in itertools.product(range(2), range(3), range(4))
}


@pytest.fixture
def network() -> Network:
    """A small ReLU network on random data, in float64."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    x, y = torch.randn(40, 5, dtype=torch.float64), torch.randint(3, (40,))
    return Network(module, Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION))


def _by_groups(sharpness: Mapping[str, float], errors: Mapping[str, float]) -> float:
    """Jiang et al.'s definition, group by group, with scipy's tau (without ties tau-b is tau)."""
    means = []
    for key in "abc":
        groups: dict[tuple[float, ...], list[str]] = {}
        for name, settings in GRID.items():
            groups.setdefault(tuple(value for other, value in settings.items() if other != key), []).append(name)
        taus = [kendalltau([sharpness[n] for n in g], [errors[n] for n in g]).statistic for g in groups.values()]
        means.append(np.mean(taus))
    return float(np.mean(means))


@pytest.mark.parametrize("seed", range(3))
def test_the_granulated_tau_is_the_mean_over_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sharpness = dict(zip(GRID, rng.random(len(GRID)).tolist(), strict=True))
    errors = dict(zip(GRID, rng.random(len(GRID)).tolist(), strict=True))
    assert granulated_tau(sharpness, errors, GRID) == pytest.approx(_by_groups(sharpness, errors), abs=1e-12)


def test_a_confounder_that_no_group_varies_does_not_count() -> None:
    """Sharpness and error both follow a, and oppose each other in b and c: the granulated tau sees all three alike."""
    sharpness = {name: 100 * s["a"] + s["b"] + 4 * s["c"] for name, s in GRID.items()}
    errors = {name: 100 * s["a"] - s["b"] - 4 * s["c"] for name, s in GRID.items()}
    assert granulated_tau(sharpness, errors, GRID) == pytest.approx((1 - 1 - 1) / 3)


def test_a_resample_counts_pairs_by_the_product_of_copies() -> None:
    settings = {"p": {"x": 0.0}, "q": {"x": 1.0}, "r": {"x": 2.0}}
    sharpness, errors = {"p": 0.0, "q": 1.0, "r": 2.0}, {"p": 0.0, "q": 2.0, "r": 1.0}
    assert granulated_tau(sharpness, errors, settings) == pytest.approx(1 / 3)
    # pq agrees and counts 2, qr disagrees and counts 3, pr agrees and counts 6
    assert granulated_tau(sharpness, errors, settings, {"p": 2, "q": 1, "r": 3}) == pytest.approx((2 - 3 + 6) / 11)


def test_the_granulated_tau_is_the_mean_of_the_taus_of_single_hyperparameters() -> None:
    rng = np.random.default_rng(4)
    sharpness, errors = (dict(zip(GRID, rng.random(len(GRID)).tolist(), strict=True)) for _ in range(2))
    alone = [granulated_tau(sharpness, errors, GRID, only=key) for key in next(iter(GRID.values()))]
    assert granulated_tau(sharpness, errors, GRID) == pytest.approx(np.mean(alone), abs=1e-12)


def test_the_bootstrap_covers_no_relation() -> None:
    """Of 60 unrelated sets, the 95% interval misses zero in a few."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(60):
        sharpness = dict(zip(GRID, rng.random(len(GRID)).tolist(), strict=True))
        errors = dict(zip(GRID, rng.random(len(GRID)).tolist(), strict=True))
        low, high = bootstrap(sharpness, errors, GRID)
        missed += not low <= 0 <= high
    assert missed <= 9


@pytest.mark.parametrize("tier", ["quick", "cpu", "full"])
def test_48_configurations_form_a_full_grid(tier: str) -> None:
    settings = settings_of(tier)
    assert len(settings) == 48
    pairs = {key: len(found) for key, found in differing(settings).items()}
    assert pairs == {"width": 24, "batch size": 48 // 4 * 6, "weight decay": 24, "lr": 48 // 3 * 3}


def test_k3_turns_with_the_error() -> None:
    claim = FilterNormalisedSharpness()
    held = claim.decide(claim.synthetic(1, 0.0, "quick"), "quick")
    assert held.parts[0].statistic == 1.0
    assert held.verdict == "holds"
    alone = [part for part in held.parts if part.name.startswith("tau where")]
    assert [(part.statistic, part.reported) for part in alone] == [(1.0, True)] * 4
    table = claim.synthetic(1, 0.0, "quick")
    first = table["setting"].iloc[0]
    lost = table.assign(
        value=table["value"].where(~((table["setting"] == first) & (table["seed"] == 2)), math.nan), note="diverged"
    )
    found = claim.decide(lost, "quick")
    assert found.verdict == "inconclusive"
    assert found.parts[0].lost == (f"seed 2: diverged ({first})",)


def test_curvature_is_the_quadratic_form_of_the_hessian(network: Network) -> None:
    weights = flat(network.module)
    x, y = network.problem.data["train"]  # type: ignore[attr-defined]
    objective = Objective(network.module, network.problem, Draw(0, None))
    objective.begin_step(network.problem.batch("train", 0, Draw(0, None)), 0)
    matrix = torch.stack([Hessian(objective) @ e for e in torch.eye(len(weights), dtype=torch.float64)])
    generator = torch.Generator().manual_seed(3)
    draws = [torch.randn(len(weights), generator=generator, dtype=torch.float64) for _ in range(4)]
    expected = np.mean([float(d @ matrix @ d) for d in draws])
    assert network.curvature(weights, 4, 3, filters=False) == pytest.approx(expected, rel=1e-9)
    assert len(x) == len(y)


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_rescaling_keeps_the_function_and_moves_the_raw_curvature(network: Network, factor: float) -> None:
    weights = flat(network.module)
    other = rescaled(network.module, weights, factor)
    assert torch.equal(flat(network.module), weights)
    x, _ = network.problem.data["train"]  # type: ignore[attr-defined]
    outputs = [network.at(w)(x).detach() for w in (weights, other)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-12)
    raw = [network.curvature(w, 5, 0, filters=False) for w in (weights, other)]
    assert abs(raw[0] - raw[1]) > 0.05 * abs(raw[0])


def test_weights_are_taken_at_the_first_evaluation_at_the_level() -> None:
    path = torch.arange(8.0).view(4, 2)
    trial = MadeTrial(
        "w", "a", values={("train", "loss"): [1.0, 0.2, 0.09, 0.01]}, steps=[0, 5, 10, 15],
        path=(torch.tensor([0, 5, 10, 15]), path),
    )  # fmt: skip
    found = at_training_loss(trial, 0.1)
    assert found is not None
    assert found[0] == 10
    assert found[1].tolist() == [4.0, 5.0]
    assert at_training_loss(trial, 0.001) is None


def test_k2_says_which_networks_do_not_reach_the_loss() -> None:
    network = Network.of(experiments.gains("quick").content["workloads"][named(1.0)])
    weights = flat(network.module)
    path = (torch.tensor([0, 1]), torch.stack([weights, weights]).float())

    def trial(gain: float, last: float) -> MadeTrial:
        return MadeTrial(named(gain), "momentum", values={("train", "loss"): [1.0, last]}, path=path)

    trials = [trial(gain, 0.5 if gain == FACTORS[0] else 0.05) for gain in (*FACTORS, 1.0)]
    table = ScaleOfWeights().measure(MadeContext(trials), 0)
    quantity = "Kendall tau of 1 / ||w|| and raw sharpness"
    assert -1 <= value_of(table, quantity, setting="rescaled networks") <= 1
    assert math.isnan(value_of(table, quantity, setting="scales of initialization"))
    assert any("1 of 8 networks do not reach" in note for note in table["note"])


class _Quadratic(nn.Module):
    """A module whose outputs are its weights: with the loss below the Hessian is the identity."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w.expand(len(x), -1)


def test_adaptive_sharpness_of_a_quadratic_has_a_closed_form() -> None:
    """L = s ||w||^2: the worst case in |d_i| <= rho |w_i| is s ((1 + rho)^2 - 1) ||w||^2, the mean s rho^2 ||w||^2."""
    from thalweg.contracts.losses import SquaredError

    w = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    x, y = torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    problem = Supervised({"train": (x, y)}, SquaredError(), (CLASSIFICATION[1],))
    objective = Objective(_Quadratic(w.clone()), problem, Draw(0, None))
    objective.begin_step(problem.batch("train", 0, Draw(0, None)), 0)
    scale = float(objective.loss().detach()) / float(w @ w)
    ball = Ball(objective, "element")
    generator = torch.Generator().manual_seed(0)
    rho = 0.1
    assert ball.ascend(rho, 5, generator, random=False) == pytest.approx(scale * ((1 + rho) ** 2 - 1) * 14, rel=1e-9)
    average, low, high = ball.average(rho, 4_000, generator)
    assert low <= scale * rho**2 * 14 <= high
    assert average == pytest.approx(scale * rho**2 * 14, rel=0.1)


def test_second_differences_run_along_both_axes() -> None:
    x = np.linspace(-1, 1, 25)
    assert downward(x[:, None] ** 2 + x[None] ** 2) == 0.0
    assert downward(x[:, None] ** 2 - x[None] ** 2) == 0.5
    assert downward(-(x[:, None] ** 2) - x[None] ** 2) == 1.0


def test_a_surface_has_the_losses_of_its_points(network: Network) -> None:
    weights = flat(network.module)
    d1, d2 = torch.randn(2, len(weights), dtype=torch.float64)
    grid = surface(network, weights, d1, d2)
    x, y = network.problem.data["train"]  # type: ignore[attr-defined]
    for row, column in ((0, 0), (12, 12), (5, 20)):
        at = weights + (-1 + column / 12) * d1 + (-1 + row / 12) * d2
        expected = nn.functional.cross_entropy(network.at(at)(x), y)
        assert grid[row, column] == pytest.approx(float(expected.detach()), rel=1e-9)
