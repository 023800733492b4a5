"""Checks of claims: ``decide`` is a pure function, tells what is missing, and turns with the effect."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from thalweg.contracts.claim import Claim, Decision
from thalweg.experiment import benchmark_of
from thalweg.registry import Registry
from thalweg.testing.others import contract

SMALL, LARGE = 0.05, 30.0
"""A spread over seeds that leaves the answer clear, and one that hides it, in distances from the bound."""


def experiments_expand(registry: Registry, name: str) -> None:
    """Every experiment of every tier is a benchmark with trials, and every name in it is registered."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        for experiment in claim.needs(tier):
            plan = benchmark_of(experiment).expand(registry)
            assert plan.trials, f"expected experiment {experiment.name!r} of tier {tier!r} to have trials"


def turns_with_the_effect(registry: Registry, name: str) -> None:
    """Measurements of a clear effect hold, and measurements of the opposite effect are not reproduced."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        for effect, expected in ((1, "holds"), (-1, "not reproduced")):
            found = claim.decide(claim.synthetic(effect, SMALL, tier), tier)  # type: ignore[arg-type]
            assert found.verdict == expected, f"effect {effect}: expected {expected!r}, and found {_told(found)}"


def noise_is_inconclusive(registry: Registry, name: str) -> None:
    """Measurements whose spread is much larger than the effect decide nothing; theorems ask every seed instead."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        if claim.theorem or claim.seeds[tier] < 2:
            continue
        found = claim.decide(claim.synthetic(1, LARGE, tier), tier)
        assert found.verdict == "inconclusive", f"expected 'inconclusive', and found {_told(found)}"


def tells_a_missing_seed(registry: Registry, name: str) -> None:
    """Without one of its seeds a claim does not hold, and a part names the seed."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        whole = claim.synthetic(1, SMALL, tier)
        last = claim.seeds[tier] - 1
        found = claim.decide(whole[whole["seed"] != last].reset_index(drop=True), tier)
        _check_lost(found, f"seed {last}")


def tells_a_lost_value(registry: Registry, name: str) -> None:
    """With values that are not numbers, as of a diverged trial, a claim does not hold, and a part tells the note."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        table = claim.synthetic(1, SMALL, tier)
        one = table["seed"] == 0
        lost = table.assign(value=table["value"].where(~one, math.nan), note=table["note"].where(~one, "diverged"))
        _check_lost(claim.decide(lost, tier), "diverged")


def is_pure(registry: Registry, name: str) -> None:
    """Two decisions on one table agree, in any order of rows, and leave the table unchanged."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        table = claim.synthetic(1, SMALL, tier)
        before = table.copy(deep=True)
        first = claim.decide(table, tier)
        pd.testing.assert_frame_equal(table, before)
        assert repr(claim.decide(table, tier)) == repr(first), "expected one table to give one decision"
        turned = claim.decide(table.iloc[::-1].reset_index(drop=True), tier)
        assert turned.verdict == first.verdict, "expected the verdict not to depend on the order of rows"


def draws(registry: Registry, name: str) -> None:
    """The chart can be drawn, also from measurements without the rows of curves."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        chart = claim.chart(claim.synthetic(1, SMALL, tier))
        document: dict[str, Any] = chart.to_dict()
        assert document, "expected a chart"


def _claim(registry: Registry, name: str) -> Claim:
    claim: Claim = registry.entry("claims", name).component
    return claim


def _check_lost(found: Decision, text: str) -> None:
    assert found.verdict not in ("holds", "holds conditionally"), f"expected no verdict that holds, and found {found}"
    told = [reason for part in found.parts for reason in part.lost]
    assert any(text in reason for reason in told), f"expected a part to tell {text!r}, and found {told}"


def _told(found: Decision) -> str:
    parts = "; ".join(f"{part.name}: {part.statistic:g} ({part.verdict})" for part in found.parts)
    return f"{found.verdict!r} of {parts}"


CHECKS = (
    contract,
    experiments_expand,
    turns_with_the_effect,
    noise_is_inconclusive,
    tells_a_missing_seed,
    tells_a_lost_value,
    is_pure,
    draws,
)
