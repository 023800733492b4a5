"""The tiers that CI cannot train, cpu and full: every claim trains two steps on tiny data, and is measured."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from small_data import small_data
from thalweg.claims.context import Context
from thalweg.claims.experiments import experiments_of, results_of, train
from thalweg.contracts.claim import COLUMNS, Claim, Experiment
from thalweg.registry import load_registry
from thalweg.runner.options import RunOptions
from thalweg_plugins.claims.later import connected
from thalweg_plugins.claims.natural_gradient.experiments import AUTOENCODER, GRIDS

REGISTRY = load_registry()
PAIRS = [
    (entry.name, tier)
    for entry in REGISTRY.entries("claims")
    for tier in entry.component.tiers
    if tier != "quick" and entry.plugin.origin == "built-in" and entry.component.needs(tier)
]
"""Claims that train by experiments; test_later_alone.py has L2 and L8, which train by themselves."""
CHOOSERS = {"B5", "H1"}
"""Claims that choose rates on seeds of their own, and so need all seeds; one seed is enough for the others."""
SMALLEST = {"resnet": 8, "vgg": 9}
"""The least depth of a network."""


class Silent:
    """Follows a run and shows nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **settings: None


@pytest.fixture(scope="module", autouse=True)
def _small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # two values of each hyperparameter take the same way as three or four
    grids = {name: {key: values[:2] for key, values in grid.items()} for name, grid in GRIDS.items()}
    # B5 also times steps, whose factors are as wide as the layers
    small = {"architecture": {"name": "autoencoder", "widths": [16, 8, 16]}, "batch_size": 8}
    tables = {tier: {**table, **small} for tier, table in AUTOENCODER.items()}
    with (
        small_data(REGISTRY, tmp_path_factory.mktemp("data")),
        mock.patch.dict(GRIDS, grids),
        mock.patch.dict(AUTOENCODER, tables),
    ):
        yield


def shrunk(experiment: Experiment, every_seed: bool) -> Experiment:
    """The experiment with two steps a trial, shallow networks, batches of 8 and one setting to tune."""
    content: dict[str, Any] = copy.deepcopy(dict(experiment.content))
    for table in [
        *content["workloads"].values(),
        *[o for w in content.get("overrides", {}).values() for o in w.values()],
    ]:
        if "problem" in table or "budget" in table:
            table["budget"] = {"steps": 2}
        if "problem" in table:
            table["evaluate_every"] = {"steps": 2}
            if isinstance(table["architecture"], dict) and table["architecture"]["name"] in SMALLEST:
                table["architecture"]["depth"] = SMALLEST[table["architecture"]["name"]]
        if "batch_size" in table and table["batch_size"] != "full":
            table["batch_size"] = min(8, table["batch_size"])
        elif "problem" in table:
            table["batch_size"] = 8
        if isinstance(table.get("problem"), dict) and "examples" in table["problem"]:
            table["problem"]["examples"] = 40
    if not every_seed:
        content["seeds"] = 1
    if "tuning" in content:
        content["tuning"] |= {"budgets": [1], "seeds": 1, "extend": 0.0}
    return Experiment(experiment.name, content)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One results folder, so that claims share their trials here too."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize(("name", "tier"), PAIRS)
def test_a_claim_of_another_tier_trains_and_is_measured(name: str, tier: str, root: Path) -> None:
    claim: Claim = REGISTRY.entry("claims", name).component
    small = tuple(shrunk(one, name in CHOOSERS) for one in claim.needs(tier))
    seeds = tuple(range(claim.seeds[tier])) if name in CHOOSERS else (0,)
    # L2 trains by itself
    brief = {"full": replace(connected.WORKLOADS["full"], epochs=2, batch=8)}
    with mock.patch.object(type(claim), "needs", return_value=small), mock.patch.dict(connected.WORKLOADS, brief):
        experiments = experiments_of({name: small})
        trained = train(experiments, REGISTRY, root, Silent(), RunOptions())  # type: ignore[arg-type]
        assert trained.report is None or not trained.report.failures, trained.report.failures[:3]
        planned = {one: tuple(plan.trials) for one, plan in trained.plans.items()}
        context = Context(tier, seeds, "cpu", planned, results_of(root))
        table = claim.measure(context, 0)
    assert list(table.columns) == list(COLUMNS[1:])
    decision = claim.decide(table.assign(seed=0), tier)
    # every part of the rule has a row of this seed: a number, or the reason why there is none
    for part in decision.parts:
        assert "seed 0: not measured" not in part.lost, part.name
        assert not math.isnan(part.statistic) or part.lost
    assert claim.chart(table.assign(seed=0)).to_dict()
