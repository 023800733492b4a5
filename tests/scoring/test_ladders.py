"""Ladders: levels, tries, and what is shown of them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from support import CommandLine, results
from thalweg.benchmark_file import parse
from thalweg.errors import UserError
from thalweg.expand import load_benchmark
from thalweg.present.charts.ladders import ladder_chart
from thalweg.present.ladders import matrix, order
from thalweg.registry import Registry
from thalweg.scoring.ladders import climb
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.tuning.plan import TunedPlan, plan_of

LEVEL = """
[workloads.bowl-{level}]
problem = {{ name = "quadratic", dim = 2, kappa = {kappa} }}
architecture = "point"
dtype = "float64"
budget = {{ steps = 40 }}
evaluate_every = {{ steps = 5 }}
target = {{ metric = "loss", value = 1e-3 }}
"""
TEXT = (
    "seeds = 3\n"
    + "".join(LEVEL.format(level=level, kappa=kappa) for level, kappa in ((1, 2.0), (2, 5.0), (3, 2000.0)))
    + """
[ladders]
bowl = ["bowl-1", "bowl-2", "bowl-3"]

[optimizers.sgd]
lr = 0.1
[optimizers.adam]
lr = 1e-6

[tuning]
method = "grid"
budgets = [3]
decades = 2.0
extend = 0.0
"""
)


def read(cli: CommandLine, registry: Registry) -> tuple[TunedPlan, pd.DataFrame]:
    benchmark = load_benchmark(str(cli.folder / "l.toml"), registry)
    stored = read_stored(results(cli, "l"))
    plan = plan_of(benchmark, registry, Selection(stacks=stored.way()), stored)
    return plan, climb(plan, stored, benchmark.spec.ladders)


def test_the_score_is_the_highest_level_with_all_below(cli: CommandLine, registry: Registry) -> None:
    (cli.folder / "l.toml").write_text(TEXT, encoding="utf-8")
    printed = cli("run", "l.toml").stdout
    plan, scores = read(cli, registry)
    sgd, adam = (scores[scores["optimizer"] == name].iloc[0] for name in ("sgd", "adam"))
    # 40 steps of gradient descent at a rate below 2 / kappa come down a bowl of 5, and not one of 2,000
    assert (sgd["level"], sgd["levels"], sgd["next"]) == (2, 3, "bowl-3")
    assert (sgd["reached"], sgd["seeds"], sgd["next_reached"]) == (3, 3, 0)
    # steps of at most 1e-5 reach nothing
    assert (adam["level"], adam["tries"], adam["next"], adam["reached"]) == (0, 0, "bowl-1", 0)
    assert not scores["missing"].any()
    # by hand: the first setting of the sequence whose own trial reached the target
    (outcome,) = (one for one in plan.outcomes if (one.workload.name, one.optimizer) == ("bowl-2", "sgd"))
    by_hash = {trial.document.hash: trial for trial in results(cli, "l").scan()[0]}
    curves = [by_hash[one.hashes[0]].curve() for one in outcome.tried]
    there = [bool((curve.query("metric == 'loss' and step > 0")["value"] <= 1e-3).any()) for curve in curves]
    assert sgd["tries"] == there.index(True) + 1
    assert f"2 ({sgd['tries']})" in printed
    document = cli.json("leaderboard", "l.toml")
    assert [row["level"] for row in document["ladders"]] == scores["level"].tolist()
    assert {row["workload"] for row in document["rows"]} == {"bowl-1", "bowl-2", "bowl-3"}
    assert "bowl-2: loss" in cli("leaderboard", "l.toml", "--workload", "bowl-2").stdout


def test_a_level_that_is_not_trained_yet_is_told(cli: CommandLine, registry: Registry) -> None:
    (cli.folder / "l.toml").write_text(TEXT, encoding="utf-8")
    cli("run", "l.toml", "--only", "workload=bowl-1", "--only", "optimizer=sgd")
    _, scores = read(cli, registry)
    sgd = scores[scores["optimizer"] == "sgd"].iloc[0]
    assert (sgd["level"], sgd["missing"], sgd["next"]) == (1, True, "bowl-2")
    assert "1+ (" in cli("leaderboard", "l.toml").stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('bowl = ["bowl-1", "bowl-4"]', "ladders.bowl: no workload 'bowl-4'; did you mean 'bowl-3'"),
        ('bowl = ["bowl-1", "bowl-1"]', "ladders.bowl: give each workload once"),
        ("bowl = []", "ladders.bowl: has no entries"),
    ],
)
def test_mistakes_name_the_ladder(line: str, told: str) -> None:
    with pytest.raises(UserError, match=r"l\.toml") as error:
        parse(TEXT.replace('bowl = ["bowl-1", "bowl-2", "bowl-3"]', line), "l.toml")
    assert told in str(error.value)


def scored(**levels: tuple[int, int]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for task in ("first", "second"):
        for name, (level, tries) in levels.items():
            more = {"task": task, "optimizer": name, "level": level, "levels": 6, "tries": tries, "reached": 5}
            rows.append(more | {"seeds": 5, "missing": name == "c", "next": "x", "next_reached": 0})
    return pd.DataFrame(rows)


def test_the_matrix_sorts_by_the_sum_and_the_chart_has_a_cell_for_each() -> None:
    scores = scored(a=(2, 3), b=(6, 1), c=(0, 0))
    assert order(scores) == ["b", "a", "c"]
    assert matrix(scores).headings == ["optimizer", "of 12", "first", "second"]
    assert matrix(scores).cells() == [
        ["b", "12", "6 (1)", "6 (1)"],
        ["a", "4", "2 (3)", "2 (3)"],
        ["c", "0", "0+", "0+"],
    ]
    chart = ladder_chart(scores, order(scores)).to_dict()
    (rows,) = chart["datasets"].values()
    assert [(row["large"], row["small"]) for row in rows[:3]] == [("2", "3"), ("6", "1"), ("0+", "")]
