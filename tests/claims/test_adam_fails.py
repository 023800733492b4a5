"""Section D: the theorem to its tolerances, and the fast computations against the registered problem and optimizers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from claim_context import decided, draws, measured
from thalweg.contracts import Draw, Optimizer
from thalweg_plugins.claims.adam_fails import D1, D2, D3, long_games
from thalweg_plugins.claims.adam_fails._clipped import adam_steps, clipped_walk
from thalweg_plugins.claims.adam_fails._games import Games, play
from thalweg_plugins.claims.adam_fails._slopes import online, stochastic
from thalweg_plugins.claims.stepping import Steps, loaded, point
from thalweg_plugins.optimizers.first_order.adagrad import Adagrad
from thalweg_plugins.optimizers.first_order.sgd import SGD
from thalweg_plugins.optimizers.lecture.adam_rkk18 import AdamRKK18, AMSGradRKK18
from thalweg_plugins.problems.rkk18 import RKK18


def registered(
    optimizer: Optimizer, steps: int, seed: int = 0, decay: bool = False, **given: float | str
) -> list[float]:
    """The points that a registered optimizer plays on the registered problem."""
    names = {option.name for option in optimizer.options}
    options = {key: value for key, value in given.items() if key not in names}
    problem, module = loaded(RKK18(), **options), point(1)
    draw = Draw(seed, None)
    problem.initialize(module, draw)
    run = Steps(optimizer, problem, module, draw, **{key: given[key] for key in given if key in names})
    lr, path = run.stepper.lr, []
    for t in range(1, steps + 1):
        path.append(float(run.w))
        run.stepper.lr = lr / math.sqrt(t) if decay else lr
        run.step()
    return path


@pytest.mark.parametrize("rule", ["adam", "amsgrad", "sgd", "adagrad"])
def test_d1_the_loop_is_the_registered_problem_with_the_registered_optimizer(rule: str) -> None:
    """For 3,000 steps; the tolerance is a few roundings of each step."""
    c, start, alpha, beta1, beta2 = 4.0, 0.5, 0.8, 0.3, 0.9
    games = Games(*(np.array([value]) for value in (c, start, alpha, beta1, beta2)))
    moments = {"beta1": beta1, "beta2": beta2}
    optimizer, more = {
        "adam": (AdamRKK18(), moments),
        "amsgrad": (AMSGradRKK18(), moments),
        "sgd": (SGD(), {}),
        "adagrad": (Adagrad(), {"eps": 0.0}),
    }[rule]
    found = registered(optimizer, 3000, decay=rule == "sgd", c=c, start=start, lr=alpha, **more)
    np.testing.assert_allclose(play(rule, games, 3000)[:, 0], found, rtol=1e-11, atol=1e-11)


def test_d1_holds_as_the_theorem_says() -> None:
    table = measured(D1())
    decision = decided(D1(), table)
    assert all(part.verdict == "holds" for part in decision.parts if not part.condition)
    assert {part.condition for part in decision.parts if part.condition} == {
        f"default betas 0.9 and 0.999, C = {c}" for c in (3, 4, 10)
    }
    draws(D1(), table)


@pytest.mark.parametrize("steps", [1, 2, 100, 2024, 2025, 2026])
def test_the_clipped_walk_is_a_plain_loop(steps: int) -> None:
    rng = np.random.default_rng(steps)
    moves = rng.standard_normal(steps) * rng.choice([0.01, 0.5, 3.0], steps)
    starts = np.array([-1.0, 0.2, 1.0])
    x, expected = starts.copy(), np.empty((3, steps))
    for t, move in enumerate(moves):
        expected[:, t] = x
        x = np.clip(x - move, -1, 1)
    np.testing.assert_allclose(clipped_walk(moves, starts), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("version", ["online", "stochastic"])
@pytest.mark.parametrize("beta2", [0.99, 0.9999])
def test_d2_and_d3_the_fast_games_are_the_registered_ones(version: str, beta2: float) -> None:
    """For 3,000 steps of the registered problem and optimizers."""
    slopes = online(3000) if version == "online" else stochastic(2, 3000)
    steps = adam_steps(slopes, 0.5, 0.9, beta2)
    for optimizer, series in ((AdamRKK18(), "adam"), (AMSGradRKK18(), "amsgrad")):
        found = registered(optimizer, 3000, 2, version=version, start=0.25, lr=0.5, beta1=0.9, beta2=beta2)
        np.testing.assert_allclose(clipped_walk(steps[series], np.array([0.25]))[0], found, rtol=0, atol=1e-11)


def test_the_slopes_are_the_papers() -> None:
    assert online(203).tolist() == [1010.0 if t % 101 == 1 else -10.0 for t in range(1, 204)]
    drawn = stochastic(0, 20_000)
    assert set(drawn) == {1010.0, -10.0}
    assert abs((drawn == 1010).mean() - 0.01) < 0.003  # four standard errors


@pytest.mark.parametrize("claim", [D2(), D3()], ids=["D2", "D3"])
def test_a_seed_gives_every_row_of_the_rule(claim: long_games.LongGame, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol on 5,000 steps; not the verdict."""
    monkeypatch.setattr(long_games, "STEPS", 5000)
    table = measured(claim, 2)
    assert not any(part.lost for part in decided(claim, table).parts)
    assert table["value"].between(-1, 1).all()
    draws(claim, table)
    assert claim.start(0) != claim.start(1)


def test_the_mean_is_over_the_last_tenth() -> None:
    from thalweg.contracts.claim import Measurements

    rows = Measurements()
    D2().add(rows, 0.99, "adam", np.concatenate([np.zeros(90), np.ones(10)]))
    table: pd.DataFrame = rows.table()
    means = table[table["x"].isna()].set_index("quantity")["value"]
    assert means["mean of x over the last 10%"] == 1.0
    assert means["average pseudo-regret 0.2 (x + 1)"] == pytest.approx(0.2 * 1.1)
