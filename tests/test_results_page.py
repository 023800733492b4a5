"""The tables of docs/results.md are those of the reference results."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import results_tables


@pytest.mark.parametrize("name", results_tables.BLOCKS)
def test_a_block_is_what_the_reference_results_give(name: str) -> None:
    assert results_tables.block(name) == results_tables.BLOCKS[name]()


def test_numbers_stand_in_blocks_alone() -> None:
    """A sentence that repeats a result would drift from it."""
    text = results_tables.PAGE.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- [^>]*: docs/results_tables.py -->.*?<!-- end -->|```.*?```", "", text, flags=re.DOTALL)
    assert re.findall(r"\d+\.\d+|\d+%|\d+ points?\b", prose) == []


def test_the_standings_are_of_the_results_that_are_kept() -> None:
    """Only an environment with every package of thalweg-optimizers can compute its standings again."""
    page, pack = results_tables.STANDINGS, results_tables.STANDINGS.parent / "results" / "optimizers.thalweg"
    assert f"SHA-256 `{hashlib.sha256(pack.read_bytes()).hexdigest()}`" in page.read_text(encoding="utf-8")


def test_the_sentences_on_all_optimizers_hold() -> None:
    lines = [line.split("|") for line in results_tables.block("optimizers").splitlines() if line.startswith("|")]
    rows = {what.strip(): cells for _, what, *cells, _ in lines}
    (digits, pairs), (certain, _) = (
        [int(number.replace(",", "")) for number in cell.split(" of ")]
        for cell in rows["pairs of which one is certainly better"]
    )
    assert digits == 0
    assert certain < pairs / 10
    ranked = len(re.findall(r"^\| 1–\d+ ", results_tables.STANDINGS.read_text(encoding="utf-8"), re.MULTILINE))
    first = [int(cell) for cell in rows["optimizers that may be first"]]
    assert ranked == sum(first)
    middle = range(20, first[0] - 20)
    places = [int(place) for cell in rows["places of SGD and of Adam by mean"] for place in cell.split(" and ")]
    assert all(place in middle for place in places)


def test_the_sentences_on_ladders_hold() -> None:
    heads = [cell.strip() for cell in results_tables.block("ladders").splitlines()[0].strip("|").split("|")][2:]
    level = {
        (name, task): int(cell.split()[0])
        for name, row in cells("ladders").items()
        for task, cell in zip(heads, row[1:], strict=True)
    }
    scaled = ("adagrad", "rmsprop", "adam", "schedule-free-adamw")
    assert {level[name, task] for name in scaled for task in ("saddle", "scales")} == {6}
    assert max(level[name, "conditioning"] for name in scaled) == level["momentum", "conditioning"]
    for name in scaled:
        assert all(level[name, task] > level["momentum", task] for task in ("saddle", "plateau", "scales"))
        assert level[name, "sparse"] >= level["momentum", "sparse"]
    assert [task for task in heads if level["lbfgs", task] == 6] == ["conditioning", "saddle", "scales", "sparse"]
    assert (level["lbfgs", "noise"], level["lbfgs", "heavy-tails"]) == (0, 0)
    assert max(level[name, "noise"] for name in (*scaled, "sgd", "momentum", "lion")) <= 3
    assert level["schedule-free-adamw", "noise"] <= level["sgd", "noise"]
    assert level["lion", "moving"] == 0
    assert all(level[name, "moving"] > 0 for name, _ in level if name != "lion")


def test_the_sentences_on_tuned_hold() -> None:
    for workload in ("digits-mlp", "mnist1d-mlp"):
        board = results_tables.board("tuned", workload).set_index("optimizer")
        if workload == "digits-mlp":
            assert set(zip(board["rank_low"], board["rank_high"], strict=True)) == {(1, 9)}
            assert board["value"].idxmin() != "muon"
        else:
            assert board.loc["muon", "rank_low"] == 8  # seven are certainly better
            assert len(board) - board.loc["sgd", "rank_high"] == 3
            assert {name for name, low in board["rank_low"].items() if low > 1} == {"kfac", "adagrad", "muon"}
            assert board.index[board["reached"] == board["seeds"]].tolist() == ["sgd"]
            assert board["value"].idxmin() == "muon"
        assert results_tables.board("tuned", workload, "training_loss").iloc[0]["optimizer"] == "muon"
        assert not board["diverged"].any()
    steps, work = (
        results_tables.board("tuned", "digits-mlp", one).set_index("optimizer") for one in results_tables.COSTS
    )
    assert steps.loc["kfac", "rank_low"] == 1 < work.loc["kfac", "rank_low"]
    plan, _, _ = results_tables.loaded("tuned")
    extended = [budget for budgets in plan.extended.values() for budget in budgets]
    assert extended.count(4) > extended.count(8)
    assert not any(outcome.at_edge for outcome in plan.outcomes)


def cells(name: str) -> dict[str, list[str]]:
    """The rows of a block, by their first cell."""
    lines = results_tables.block(name).splitlines()[2:]
    return {row[0]: row[1:] for row in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def test_the_sentences_on_rates_hold() -> None:
    rows = cells("tuned sensitivity")
    everywhere = {name for name, row in rows.items() if row[0] == row[2]}
    assert everywhere == {"lbfgs", "muon"}
    reached = {name: [int(part) for part in rows[name][3].split(" of ")] for name in everywhere}
    assert reached["muon"][0] / reached["muon"][1] > 0.9
    assert reached["lbfgs"][0] / reached["lbfgs"][1] < 0.5
    assert {name for name, row in rows.items() if row[4] != "–"} == {"muon", "kfac"}
    for block in ("tuned settings", "convnet settings"):
        for line in results_tables.block(block).splitlines()[2:]:
            _, _, setting, declared, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            low, high = map(float, declared.split(" to "))
            assert low <= float(setting.removeprefix("lr=")) <= high


def test_the_sentences_on_convnets_and_broad_hold() -> None:
    assert {row[1] for row in cells("convnet").values()} == {"1–9"}
    found = results_tables.whole("broad")
    assert {row[2] for row in cells("broad").values()} == {"1–6"}
    assert found.critical is not None
    assert found.critical.p < 0.05
    names = list(found.critical.ranks.index)
    together = [set(group) for group in found.critical.groups]
    apart = {(a, b) for a in names for b in names if not any({a, b} <= group for group in together) and a < b}
    assert apart == {("adam", "sgd"), ("adagrad", "sgd")}
    table = found.table.set_index("optimizer")
    assert table["ecdf"].idxmax() == "adagrad"
    assert table["profile"].idxmax() == found.critical.ranks.idxmin() == "adam"
    assert table.loc["momentum", "profile"] > table.loc["adagrad", "profile"]
    assert table.loc["momentum", "ecdf"] < table.loc["adagrad", "ecdf"]
