"""Checks of claims: ``decide`` is a pure function, tells what is missing, and turns with the effect."""

from __future__ import annotations

import math
from typing import Any

from thalweg.contracts.claim import Claim, Decision
from thalweg.experiment import benchmark_of
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
from thalweg.testing.others import contract

SMALL, LARGE = 0.05, 30.0
"""A spread over seeds that leaves the answer clear, and one that hides it, in distances from the bound."""


@condition(
    finds="experiments of a tier that are no benchmarks",
    means="the claim cannot be measured",
)
def experiments_expand(registry: Registry, name: str) -> None:
    """Every experiment of every tier is a benchmark with trials, and every name in it is registered."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        for experiment in claim.needs(tier):
            plan = benchmark_of(experiment).expand(registry)
            expect(bool(plan.trials), f"experiment {experiment.name!r} of tier {tier!r} to have trials", "it has none")


@condition(
    finds="a `decide` that does not hold for a clear effect, or holds for the opposite effect",
    means="the verdict says nothing about the statement",
)
def turns_with_the_effect(registry: Registry, name: str) -> None:
    """Measurements of a clear effect hold, and measurements of the opposite effect are not reproduced."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        for effect, expected in ((1, "holds"), (-1, "not reproduced")):
            found = claim.decide(claim.synthetic(effect, SMALL, tier), tier)  # type: ignore[arg-type]
            expect(found.verdict == expected, f"effect {effect}: {expected!r}", _told(found))


@condition(
    finds="a verdict on measurements whose spread hides the effect",
    means="a verdict may be an accident of the seeds",
)
def noise_is_inconclusive(registry: Registry, name: str) -> None:
    """Measurements whose spread is much larger than the effect decide nothing; theorems ask every seed instead."""
    claim = _claim(registry, name)
    tiers = [tier for tier in claim.tiers if not claim.theorem and claim.seeds[tier] >= 2]
    if not tiers:
        raise DoesNotApply("a theorem asks every seed, and one seed has no spread")
    for tier in tiers:
        found = claim.decide(claim.synthetic(1, LARGE, tier), tier)
        expect(found.verdict == "inconclusive", "'inconclusive'", _told(found))


@condition(
    finds="seeds that are left out without a word",
    means="the verdict favours the side whose seeds are lost",
)
def tells_a_missing_seed(registry: Registry, name: str) -> None:
    """Without one of its seeds a claim does not hold, and a part names the seed."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        whole = claim.synthetic(1, SMALL, tier)
        last = claim.seeds[tier] - 1
        found = claim.decide(whole[whole["seed"] != last].reset_index(drop=True), tier)
        _check_lost(found, f"seed {last}")


@condition(
    finds="values that are left out without a word, as of a diverged trial",
    means="the verdict favours the side that diverges",
)
def tells_a_lost_value(registry: Registry, name: str) -> None:
    """With values that are not numbers, as of a diverged trial, a claim does not hold, and a part tells the note."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        table = claim.synthetic(1, SMALL, tier)
        one = table["seed"] == 0
        lost = table.assign(value=table["value"].where(~one, math.nan), note=table["note"].where(~one, "diverged"))
        _check_lost(claim.decide(lost, tier), "diverged")


@condition(
    finds="a `decide` that changes its table, or depends on the order of rows",
    means="a second look at the same measurements may give another verdict",
)
def is_pure(registry: Registry, name: str) -> None:
    """Two decisions on one table agree, in any order of rows, and leave the table unchanged."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        table = claim.synthetic(1, SMALL, tier)
        before = table.copy(deep=True)
        first = claim.decide(table, tier)
        expect(table.equals(before), "decide to leave its table unchanged", "the table has changed")
        again = claim.decide(table, tier)
        expect(repr(again) == repr(first), "one table to give one decision", f"{_told(first)}, then {_told(again)}")
        turned = claim.decide(table.iloc[::-1].reset_index(drop=True), tier)
        order = "a verdict that does not depend on the order of rows"
        expect(turned.verdict == first.verdict, order, f"{first.verdict!r}, then {turned.verdict!r}")


@condition(
    finds="a chart that cannot be drawn, or needs rows of curves",
    means="the report and the app have no picture of the claim",
)
def draws(registry: Registry, name: str) -> None:
    """The chart can be drawn, also from measurements without the rows of curves."""
    claim = _claim(registry, name)
    for tier in claim.tiers:
        chart = claim.chart(claim.synthetic(1, SMALL, tier))
        document: dict[str, Any] = chart.to_dict()
        expect(bool(document), "a chart", "an empty document")


def _claim(registry: Registry, name: str) -> Claim:
    claim: Claim = registry.entry("claims", name).component
    return claim


def _check_lost(found: Decision, text: str) -> None:
    held = found.verdict in ("holds", "holds conditionally")
    expect(not held, f"no verdict that holds without {text}", _told(found))
    told = [reason for part in found.parts for reason in part.lost]
    expect(any(text in reason for reason in told), f"a part that tells {text!r}", f"{told}")


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
