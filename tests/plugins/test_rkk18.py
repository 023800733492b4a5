"""Reddi et al.'s online problems against plain loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support import CommandLine, results
from thalweg.contracts import Draw, LoadContext, LoadedProblem
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.registry import Registry


def load(registry: Registry, **given: Any) -> LoadedProblem:
    problem = registry.problem("rkk18")
    return problem.load(resolve(problem.options, given, "x"), LoadContext(torch.device("cpu"), torch.float64))


def slopes(loaded: LoadedProblem, steps: int, draw: Draw) -> list[float]:
    found = []
    for step in range(steps):
        inputs = loaded.batch("train", step, draw).inputs
        assert inputs is not None
        found.append(float(inputs))
    return found


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"c": 4.0}, lambda t: 4.0 if t % 3 == 1 else -1.0),
        ({"version": "online"}, lambda t: 1010.0 if t % 101 == 1 else -10.0),
    ],
)
def test_step_t_has_the_papers_slope(registry: Registry, given: dict[str, Any], rule: Any) -> None:
    found = slopes(load(registry, **given), 5000, Draw(0, 32))
    assert found == [rule(t) for t in range(1, 5001)]


def test_the_stochastic_version_draws_from_the_seed(registry: Registry) -> None:
    loaded = load(registry, version="stochastic")
    found = slopes(loaded, 10_000, Draw(0, None))
    assert set(found) == {1010.0, -10.0}
    # 10,000 draws of probability 0.01: standard error 0.001
    assert abs(found.count(1010.0) / 10_000 - 0.01) < 0.004
    assert slopes(loaded, 100, Draw(0, None)) == found[:100]
    assert slopes(loaded, 1000, Draw(1, None)) != found[:1000]


@pytest.mark.parametrize("version", ["periodic", "online", "stochastic"])
def test_average_regret_is_that_of_the_definition(registry: Registry, version: str) -> None:
    loaded, draw = load(registry, version=version), Draw(2, None)
    c = np.array(slopes(loaded, 9000, draw))
    for steps in (1, 5, 4096, 9000):
        x = np.random.default_rng(0).uniform(-1, 1, steps)
        paid = float(np.sum(c[:steps] * x))
        best = min(float(np.sum(c[:steps]) * fixed) for fixed in (-1, 1))
        found = loaded.online_metrics(steps, paid, draw)["average_regret"]
        assert found == pytest.approx((paid - best) / steps, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("c", [3.0, 4.0, 10.0])
def test_the_regret_of_staying_at_one_is_the_papers(registry: Registry, c: float) -> None:
    loaded, draw = load(registry, c=c), Draw(0, None)
    found = loaded.online_metrics(3000, sum(slopes(loaded, 3000, draw)), draw)["average_regret"]
    assert found == pytest.approx((2 * c - 4) / 3)


BENCHMARK = """
seeds = 1

[workloads.online]
problem = { name = "rkk18", version = "VERSION", start = 0.5 }
architecture = "point"
dtype = "float64"
budget = { steps = 3000 }
evaluate_every = { steps = 100 }

[optimizers.sgd]
lr = 0.01
"""


@pytest.mark.parametrize("version", ["periodic", "online", "stochastic"])
def test_a_run_is_projected_online_gradient_descent(
    cli: CommandLine, registry: Registry, tmp_path: Path, version: str
) -> None:
    """3,000 steps of the registered problem and optimizer equal a plain loop, to 1e-12."""
    (tmp_path / "small.toml").write_text(BENCHMARK.replace("VERSION", version), encoding="utf-8")
    cli("run", "small.toml")
    (trial,), _ = results(cli).scan()
    assert trial.document.status == "done"
    curve = trial.curve().pivot_table(index="step", columns="metric", values="value")
    c = slopes(load(registry, version=version), 3000, Draw(0, None))
    x, paid = 0.5, 0.0
    for t, slope in enumerate(c, start=1):
        paid += slope * x
        x = min(1.0, max(-1.0, x - 0.01 * slope))
        if t % 100 == 0:
            assert curve.loc[t, "x"] == pytest.approx(x, abs=1e-12)
            regret = (paid + abs(sum(c[:t]))) / t
            assert curve.loc[t, "average_regret"] == pytest.approx(regret, rel=1e-9, abs=1e-12)
    assert curve["x"].abs().max() <= 1
    # there is no regret before the first step, so nothing reaches a target there
    assert trial.curve().query("step == 0 and metric == 'average_regret'")["value"].isna().all()


def test_a_slope_that_does_not_count_is_refused(registry: Registry) -> None:
    problem = registry.problem("rkk18")
    with pytest.raises(UserError, match="c has no effect with version = "):
        problem.shape(resolve(problem.options, {"version": "online", "c": 4.0}, "x"))


@pytest.mark.parametrize(("version", "steps"), [("periodic", 1002), ("online", 1010), ("stochastic", 1000)])
def test_an_epoch_is_whole_periods_of_about_a_thousand_steps(registry: Registry, version: str, steps: int) -> None:
    assert load(registry, version=version).steps_per_epoch(32) == steps
