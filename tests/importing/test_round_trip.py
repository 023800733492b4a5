"""Results that are exported and imported again give the same leaderboard, but for time and work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from support import CommandLine

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
COLUMNS = ("workload", "optimizer", "metric", "seeds", "diverged", "failed", "value", "low", "high", "reached")


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-15) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


@pytest.mark.parametrize(
    ("name", "ending"),
    [("quick", "csv"), ("analytic", "parquet"), ("cpu", "parquet"), ("kfac", "parquet"), ("tuned", "parquet")],
)
def test_an_export_gives_the_same_leaderboard(cli: CommandLine, name: str, ending: str) -> None:
    check(cli, name, ending)


def check(cli: CommandLine, benchmark: str, ending: str) -> None:
    cli("results", "export", f"all.{ending}", benchmark, "--results", str(REFERENCE))
    words = ["results", "import-curves", f"all.{ending}", "--benchmark", "again", "--into", "imp"]
    cli(*words)
    before = cli.json("leaderboard", benchmark, "--results", str(REFERENCE))["rows"]
    after = cli.json("leaderboard", "again", "--results", "imp")["rows"]
    key = ("workload", "optimizer")
    mine = {tuple(row[name] for name in key): row for row in after}
    theirs = {tuple(row[name] for name in key): row for row in before}
    assert mine.keys() == theirs.keys()
    for pair, row in theirs.items():
        for name in COLUMNS:
            if name in row:
                assert same(row[name], mine[pair][name]), (pair, name, row[name], mine[pair][name])
