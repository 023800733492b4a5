"""The sections of the leaderboard's page for ladders and tracks, and the same in a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from support import CommandLine

Show = Callable[..., AppTest]

TEXT = """
title = "Scores"
seeds = 2

[workloads.easy]
problem = { name = "ladder-noise", level = 1 }
architecture = "point"
dtype = "float64"
batch_size = 1
budget = { steps = 40 }
evaluate_every = { steps = 10 }
target = { metric = "loss", value = 4.0 }

[workloads.hard]
problem = { name = "ladder-noise", level = 6 }
architecture = "point"
dtype = "float64"
batch_size = 1
budget = { steps = 40 }
evaluate_every = { steps = 10 }
target = { metric = "loss", value = 1e-9 }

[ladders]
noise = ["easy", "hard"]

[track]
workload = "easy"
margin = 0.01

[optimizers.sgd]
lr = 0.1
[optimizers.adam]
lr = 1e-6
"""


def text(elements: Iterable[object]) -> str:
    return "\n".join(str(getattr(element, "value", "")) for element in elements)


@pytest.fixture
def scores(cli: CommandLine) -> CommandLine:
    (cli.folder / "scores.toml").write_text(TEXT, encoding="utf-8")
    cli("run", "scores.toml", "--quiet")
    return cli


def test_the_leaderboard_has_the_matrix_and_the_standings(show: Show, scores: CommandLine) -> None:
    root = scores.folder / "results/local"
    page = show("leaderboard", root, benchmark="scores")
    assert not page.exception
    assert [header.value for header in page.subheader][:2] == ["Ladders", "Steps to the target"]
    matrix, standings = page.dataframe[0].value, page.dataframe[1].value
    assert matrix.set_index("optimizer").loc["sgd", "noise"] == "1 (1)"
    assert matrix.set_index("optimizer").loc["adam", "noise"] == "0"
    assert standings["optimizer"].tolist() == ["sgd", "adam"]
    assert "No record is listed yet" in text(page.markdown)
    scores("track", "scores.toml", "--add", "sgd", "--by", "*someone*")
    page = show("leaderboard", root, benchmark="scores")
    assert r"by \*someone\*" in text(page.markdown)  # text stays text
    (root / "scores.records.json").write_text("[1]", encoding="utf-8")
    page = show("leaderboard", root, benchmark="scores")
    assert "record 1" in text(page.warning)
    assert "Ladders" in [header.value for header in page.subheader]


def test_a_report_has_the_matrix(scores: CommandLine, tmp_path: Path) -> None:
    out = scores.folder / "report.html"
    scores("report", "scores.toml", "--out", str(out))
    page = out.read_text(encoding="utf-8")
    assert "Ladders" in page
    assert "1 (1)" in page
