"""Rules of claims: bounds, conditions, lost seeds. References: scipy's t-test, and Holm's procedure by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from thalweg.contracts.claim import COLUMNS, Part
from thalweg.scoring.rules import PartRule, Rule, conclude


def table(values: dict[tuple[str, str, str], list[float]], notes: dict[int, str] | None = None) -> pd.DataFrame:
    """Measurements from values by (setting, quantity, series), one for each seed."""
    rows = [
        (seed, setting, quantity, series, math.nan, value, (notes or {}).get(seed, ""))
        for (setting, quantity, series), each in values.items()
        for seed, value in enumerate(each)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def empirical(**part: object) -> Rule:
    return Rule(kind="empirical", parts=(PartRule.model_validate(part),))


LOSSES = {("", "loss", "sgd"): [2.0, 2.2, 1.9, 2.4, 2.1], ("", "loss", "adam"): [1.0, 1.3, 0.9, 1.1, 1.0]}


def test_log_ratio_is_a_paired_t_interval() -> None:
    (part,) = empirical(quantity="loss", log_ratio=["sgd", "adam"], above=0.0).decide(table(LOSSES), 5).parts
    ratios = np.log(np.array(LOSSES["", "loss", "sgd"]) / np.array(LOSSES["", "loss", "adam"]))
    reference = stats.ttest_1samp(ratios, 0.0).confidence_interval(0.95)
    assert (part.low, part.high) == pytest.approx((reference.low, reference.high), rel=1e-12)
    assert part.statistic == pytest.approx(ratios.mean(), rel=1e-12)
    assert (part.verdict, part.unit, part.name, part.seeds) == ("holds", "log ratio", "loss: sgd / adam", 5)


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        ({"above": 0.3}, "holds"),
        ({"above": 0.7}, "inconclusive"),
        ({"above": 0.9}, "not reproduced"),
        ({"below": 0.9}, "holds"),
        ({"below": 0.7}, "inconclusive"),
        ({"below": 0.3}, "not reproduced"),
        ({"within": [0.3, 1.0]}, "holds"),
        ({"within": [0.7, 1.0]}, "inconclusive"),
        ({"within": [1.0, 2.0]}, "not reproduced"),
        ({"within": [0.1, 0.2]}, "not reproduced"),
    ],
)
def test_an_interval_lies_inside_outside_or_on_the_bound(bound: dict[str, object], verdict: str) -> None:
    """The interval of these ratios is 0.58 to 0.79."""
    rule = empirical(quantity="loss", log_ratio=["sgd", "adam"], **bound)
    decision = rule.decide(table(LOSSES), 5)
    assert (decision.verdict, decision.parts[0].verdict) == (verdict, verdict)


def test_difference_subtracts() -> None:
    (part,) = empirical(quantity="loss", difference=["sgd", "adam"], above=0.0).decide(table(LOSSES), 5).parts
    assert part.statistic == pytest.approx(2.12 - 1.06, rel=1e-12)
    assert part.name == "loss: sgd minus adam"


def test_equal_values_on_the_bound_decide_nothing() -> None:
    rule = empirical(quantity="share", difference=["a", "b"], above=0.0)
    same = {("", "share", "a"): [0.5] * 5, ("", "share", "b"): [0.5] * 5}
    assert rule.decide(table(same), 5).verdict == "inconclusive"


def test_rows_of_curves_do_not_decide() -> None:
    measured = table(LOSSES)
    curve = measured.assign(x=1.0, value=-100.0)
    rule = empirical(quantity="loss", log_ratio=["sgd", "adam"], above=0.0)
    assert rule.decide(pd.concat([measured, curve]), 5) == rule.decide(measured, 5)


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (math.nan, "seed 2: diverged"),
        (math.inf, "seed 2: diverged"),
        (0.0, "seed 2: diverged"),
    ],
)
def test_a_lost_value_is_told_and_decides_nothing(lost: float, told: str) -> None:
    values = {key: list(each) for key, each in LOSSES.items()}
    values["", "loss", "adam"][2] = lost
    rule = empirical(quantity="loss", log_ratio=["sgd", "adam"], above=0.0)
    decision = rule.decide(table(values, {2: "diverged"}), 5)
    assert decision.verdict == "inconclusive"
    assert decision.parts[0].lost[0].startswith(told)
    assert decision.parts[0].seeds == 4


def test_a_value_without_a_note_is_shown() -> None:
    values = {key: list(each) for key, each in LOSSES.items()}
    values["", "loss", "adam"][2] = math.nan
    decision = empirical(quantity="loss", log_ratio=["sgd", "adam"], above=0.0).decide(table(values), 5)
    assert decision.parts[0].lost == ("seed 2: sgd 1.9 and adam nan",)


def test_a_seed_that_is_not_there_is_told() -> None:
    rule = empirical(quantity="loss", log_ratio=["sgd", "adam"], above=0.0)
    decision = rule.decide(table(LOSSES), 6)
    assert (decision.verdict, decision.parts[0].lost) == ("inconclusive", ("seed 5: not measured",))
    nothing = rule.decide(table({}), 2)
    assert (nothing.verdict, len(nothing.parts[0].lost)) == ("inconclusive", 2)


def test_one_seed_decides_nothing_of_an_empirical_claim() -> None:
    rule = empirical(quantity="loss", log_ratio=["sgd", "adam"], above=0.0)
    assert rule.decide(table({key: each[:1] for key, each in LOSSES.items()}), 1).verdict == "inconclusive"


def test_theorem_asks_every_seed() -> None:
    rule = Rule(kind="theorem", parts=(PartRule(quantity="error", below=1e-8),))
    small = {("", "error", ""): [1e-9, 2e-9, 1e-12]}
    (part,) = rule.decide(table(small), 3).parts
    assert (part.verdict, part.statistic, part.low, part.high) == ("holds", 2e-9, 1e-12, 2e-9)
    one_large = {("", "error", ""): [1e-9, 2e-8, 1e-12]}
    assert rule.decide(table(one_large), 3).verdict == "not reproduced"
    assert rule.decide(table(small), 4).verdict == "inconclusive"


def test_settings_make_parts_and_name_series() -> None:
    rule = empirical(
        quantity="steps", log_ratio=["{setting}, rotated", "{setting}, axis"], settings=["a", "b"], above=0
    )
    names = [part.name for part in rule.decide(table({}), 1).parts]
    assert names == ["steps: a, rotated / a, axis", "steps: b, rotated / b, axis"]
    plain = empirical(quantity="steps", series="gd", settings=["a", "b"], above=0)
    values = {("a", "steps", "gd"): [1.0, 1.1], ("b", "steps", "gd"): [2.0, 2.1]}
    parts = plain.decide(table(values), 2).parts
    assert [part.name for part in parts] == ["steps: gd (a)", "steps: gd (b)"]
    assert [part.statistic for part in parts] == pytest.approx([1.05, 2.05])


def part(verdict: str, condition: str = "", reported: bool = False) -> Part:
    return Part("p", 0, 0, 0, 0, verdict, condition=condition, reported=reported)  # type: ignore[arg-type]


H, N, I = "holds", "not reproduced", "inconclusive"  # noqa: E741


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([part(H), part(H)], H),
        ([part(H), part(N)], N),
        ([part(H), part(I)], I),
        ([part(N), part(I)], N),
        ([part(H), part(N, reported=True)], H),
        ([part(H, "a"), part(H, "b")], H),
        ([part(N, "a"), part(N, "b")], N),
        ([part(H, "a"), part(N, "b")], "holds conditionally"),
        ([part(H, "a"), part(N, "b"), part(I, "c")], "holds conditionally"),
        ([part(H, "a"), part(I, "b")], I),
        ([part(N, "a"), part(I, "b")], I),
        ([part(H), part(N, "a")], "holds conditionally"),
        ([part(N), part(H, "a")], "holds conditionally"),
        ([part(I), part(H, "a"), part(N, "b")], I),
        ([part(H), part(I, "a")], H),
        # a level with a refuted part is refuted
        ([part(H, "a"), part(N, "a"), part(H, "b")], "holds conditionally"),
        ([part(H, "a"), part(I, "a"), part(N, "b")], I),
    ],
)
def test_conclusions(parts: list[Part], verdict: str) -> None:
    assert conclude(parts).verdict == verdict


def test_condition_names_the_sides() -> None:
    decision = conclude([part(H), part(H, "small rates"), part(N, "large rates"), part(I, "others")])
    assert decision.condition == (
        "without the condition: holds; holds at small rates; does not hold at large rates; undecided at others"
    )


def test_names_with_commas_are_in_quotation_marks() -> None:
    decision = conclude([part(H, "most rates, convex"), part(H, "any"), part(N, "start"), part(N, "end")])
    assert decision.condition == 'holds at "most rates, convex", "any"; does not hold at start, end'


def test_conditions_are_corrected_by_holm() -> None:
    """Three levels with p-values of 0.01, 0.03 and 0.04 by themselves: Holm at 5% rejects the first alone."""

    def values(p: float) -> list[float]:
        """Five values with this two-sided p-value against 0."""
        base = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
        error = base.std(ddof=1) / math.sqrt(5)
        return list(base + error * float(stats.t.isf(p / 2, 4)))

    rule = Rule(
        kind="empirical",
        parts=(PartRule(quantity="q", settings=("a", "b", "c"), above=0.0, condition="{setting}"),),
    )
    three = {("a", "q", ""): values(0.01), ("b", "q", ""): values(0.03), ("c", "q", ""): values(0.04)}
    assert [each.verdict for each in rule.decide(table(three), 5).parts] == [H, I, I]
    # both of two levels are rejected at 0.02 <= 0.05 / 2 and 0.03 <= 0.05
    two = {("a", "q", ""): values(0.02), ("b", "q", ""): values(0.03), ("c", "q", ""): values(0.016)}
    assert [each.verdict for each in rule.decide(table(two), 5).parts] == [H, H, H]


@pytest.mark.parametrize("count", [2, 5])
def test_false_verdicts_are_as_rare_as_the_level_says(count: int) -> None:
    """At the bound, the interval lies beyond it in 5% of tables: 2.5% on each side. 4,000 tables: 5 sigma is 1.7%."""
    rule = empirical(quantity="q", above=0.0)
    random = np.random.default_rng(0)
    verdicts = [
        rule.decide(table({("", "q", ""): list(random.normal(size=count))}), count).verdict for _ in range(4000)
    ]
    assert verdicts.count(H) / 4000 == pytest.approx(0.025, abs=0.0125)
    assert verdicts.count(N) / 4000 == pytest.approx(0.025, abs=0.0125)


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": "q"},
        {"quantity": "q", "above": 0.0, "below": 1.0},
        {"quantity": "q", "above": 0.0, "log_ratio": ["a", "b"], "difference": ["a", "b"]},
        {"quantity": "q", "above": 0.0, "settings": []},
        {"quantity": "q", "above": 0.0, "threshold": 1.0},
    ],
)
def test_a_rule_has_one_bound_and_one_statistic(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PartRule.model_validate(wrong)


def test_synthetic_measurements_have_the_answer() -> None:
    rule = Rule(
        kind="empirical",
        parts=(
            PartRule(quantity="q", log_ratio=("a", "b"), above=1.0),
            PartRule(quantity="q", log_ratio=("b", "c"), below=0.5),
            PartRule(quantity="q", series="c", within=(2.0, 3.0)),
        ),
    )
    assert rule.decide(rule.synthetic(1, 0.0, 4), 4).verdict == H
    turned = rule.decide(rule.synthetic(-1, 0.0, 4), 4)
    assert [each.verdict for each in turned.parts] == [N, N, N]
