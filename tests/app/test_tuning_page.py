"""The page of a benchmark with tuning. Trials of the tuning stay out of the other pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from support import CommandLine
from thalweg.contracts import Metric
from thalweg.present.charts.tuning import budget_chart, sensitivity_chart

Show = Callable[..., AppTest]

TUNED = """
title = "Tuned"
seeds = 2
[workloads.bowl]
problem = { name = "quadratic", dim = 4, kappa = 10.0 }
architecture = "point"
dtype = "float64"
budget = { steps = 20 }
evaluate_every = { steps = 5 }
[optimizers.sgd]
lr = 0.1
[optimizers.adam]
[tuning]
budgets = [2, 6]
"""


def text(elements: Iterable[object]) -> str:
    return "\n".join(str(getattr(element, "value", "")) for element in elements)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    (tmp_path / "tuned.toml").write_text(TUNED, encoding="utf-8")
    CommandLine(tmp_path, own_process=False)("run", "tuned.toml", "--results", "there")
    return tmp_path / "there"


def test_the_page_has_both_charts_and_the_best_settings(show: Show, tuned: Path) -> None:
    page = show("tuning", tuned, benchmark="tuned")
    assert text(page.title) == "Tuned: tuning"
    assert len(page.get("vega_lite_chart")) == 2
    table = page.dataframe[0].value
    assert set(table["optimizer"]) == {"sgd", "adam"}
    assert table["setting"].str.startswith("lr=").all()


def test_tuning_trials_are_in_no_other_table(show: Show, tuned: Path) -> None:
    page = show("leaderboard", tuned, benchmark="tuned")
    table = page.dataframe[0].value
    assert sorted(table["optimizer"]) == ["adam", "sgd"]
    assert "in_benchmark" not in table
    assert {metric.label: metric.value for metric in page.metric} == {
        "done": "4", "diverged": "0", "failed": "0", "missing": "0",
    }  # fmt: skip


def test_a_benchmark_that_does_not_tune_says_so(show: Show, results: Path) -> None:
    page = show("tuning", results, benchmark="tiny")
    assert "does not tune" in text(page.info)


def test_charts_draw_what_diverged_and_a_single_budget() -> None:
    metric = Metric("loss", "lower", "log")
    rows = [("sgd", 0.1, 1.0, "done", "4"), ("sgd", 1.0, float("nan"), "diverged", ""), ("adam", 0.1, 2.0, "done", "4")]
    tried = pd.DataFrame(rows, columns=["optimizer", "lr", "value", "status", "selected"])
    chart = sensitivity_chart(tried, metric, "valid", ["adam", "sgd"]).to_dict()
    assert len(chart["layer"]) == 4
    assert "log scale" in chart["layer"][0]["encoding"]["y"]["title"]
    boards = pd.DataFrame({"optimizer": ["sgd"], "budget": [4], "value": [1.0], "low": [0.5], "high": [2.0]})
    assert budget_chart(boards, metric, "test", ["adam", "sgd"]).to_dict()["layer"]
