"""The tables of docs/compare.md and docs/ci.md are what docs/verdicts.py computes, and hold what the pages promise."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from thalweg.errors import UserError
from thalweg.scoring.judge import ALPHA, BETTER, SAME, UNDECIDED, WORSE, decide
from thalweg.scoring.rerandomised import evidence, two_samples
from thalweg.scoring.sequential import plan_looks, smallest_p

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import verdicts

SCENARIOS = [*verdicts.NO_OPS, *verdicts.REGRESSIONS, *verdicts.AT_MARGIN]


def cells(name: str) -> dict[str, list[str]]:
    """The rows of a block, by their first cell."""
    lines = [line for line in verdicts.block(name).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name for each in SCENARIOS])
def test_a_scenario_has_the_rates_that_the_page_gives(scenario: verdicts.Scenario) -> None:
    """The columns of 5 and 10 seeds, which take no time, are simulated again."""
    row = verdicts.scenario_row(scenario, (5, 10))
    assert cells("scenarios")[row[0]][:2] == row[1:]


@pytest.mark.parametrize("column", range(3), ids=["5 seeds", "10 seeds", "20 seeds"])
def test_no_no_op_is_worse_and_no_regression_the_same_above_five_percent(column: int) -> None:
    rows = cells("scenarios")
    for scenario in (*verdicts.NO_OPS, *verdicts.REGRESSIONS):
        _, same, worse, _ = map(int, rows[scenario.name][column].split("/"))
        wrong = worse if scenario in verdicts.NO_OPS else same
        count = round(wrong / 100 * verdicts.REPETITIONS)
        assert wrong <= 5, scenario.name
        assert stats.binomtest(count, verdicts.REPETITIONS).proportion_ci(0.95, "exact").high <= 0.065, scenario.name
    assert len(SCENARIOS) >= 40


def test_small_tables_are_those_of_the_pages() -> None:
    assert verdicts.block("unseen") == verdicts.unseen_table()
    for name, row in (("power", verdicts.power_row), ("no-ops", verdicts.no_op_row)):
        assert cells(name)["4"][:4] == row(4, verdicts.POWER_SEEDS[:4])[1:]
    assert cells("unpaired")["no-op"][0] == verdicts.rates(verdicts.unpaired_rates(0.0, 5))


@pytest.mark.parametrize("rows", [1, 4])
def test_a_gate_keeps_its_error_rate_over_all_looks_and_takes_fewer_seeds(rows: int) -> None:
    none, loss = (verdicts.gate(rows, verdicts.CAP, size, 400) for size in (0.0, 0.03))
    assert (none.verdict == WORSE).mean() <= 0.05
    found = float(loss.worse.mean())
    assert found >= 0.95
    assert loss.seeds.mean() < verdicts.fixed_design(rows, min(found, 0.999))


def test_a_gate_at_the_margin_calls_five_percent_worse_at_most_and_uses_its_rate() -> None:
    edge = verdicts.gate(1, 30, 0.01, 2000)
    assert 0.015 < (edge.verdict == WORSE).mean() <= 0.055
    assert (edge.verdict == SAME).mean() <= 0.055


@pytest.mark.parametrize("paired", [True, False])
def test_the_rates_of_all_looks_add_up_and_the_first_look_can_show_a_difference(paired: bool) -> None:
    for rows, cap in itertools.product((1, 2, 3, 4, 8, 20, 100), (6, 7, 8, 11, 12, 20, 40, 100, 300)):
        if smallest_p(cap, paired) > ALPHA / rows:
            with pytest.raises(UserError, match=f"--max-seeds {cap}: .* at least"):
                plan_looks(rows, cap, paired)
            continue
        looks = plan_looks(rows, cap, paired)
        assert sum(look.levels.differ for look in looks) == pytest.approx(ALPHA)
        assert sum(look.levels.same for look in looks) == pytest.approx(ALPHA)
        assert looks[-1].seeds == cap
        assert [look.seeds for look in looks] == sorted({look.seeds for look in looks})
        assert smallest_p(looks[0].seeds, paired) <= looks[0].levels.differ / rows * (1 + 1e-9)
    with pytest.raises(UserError, match="more seeds than the test can use"):
        plan_looks(10_000, 500)


def test_two_samples_follow_a_plan_too() -> None:
    """Independent samples of up to 20 seeds: no no-op is worse in more than 5% over all looks, and a loss is found."""
    for loss, least, most in ((0.0, 0.0, 0.05), (0.03, 0.9, 1.0)):
        draw = np.random.default_rng(7)
        found = 0
        for _ in range(100):
            before, after = draw.normal(0.0, 0.01, (2, 20))
            looks = (
                decide(evidence(two_samples(before[:n], after[:n] + loss), np.array([0.01])), levels=levels).verdict[0]
                for n, levels in plan_looks(1, 20, paired=False)
            )
            found += any(verdict == WORSE for verdict in looks)
        assert least <= found / 100 <= most


def test_overall_verdicts_are_those_of_the_command() -> None:
    rows = np.array([[WORSE, UNDECIDED], [UNDECIDED, BETTER], [BETTER, SAME], [SAME, SAME]])
    assert verdicts.overall(rows).tolist() == [WORSE, UNDECIDED, BETTER, SAME]
