"""Imported runs in the app: every page opens, and says what is not known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from importing_runs import ten_curves
from support import CommandLine

Show = Callable[..., AppTest]


@pytest.fixture
def root(cli: CommandLine) -> Path:
    ten_curves().to_csv(cli.folder / "tidy.csv", index=False, na_rep="nan")
    cli("results", "import-curves", "tidy.csv", "--benchmark", "mine", "--into", "imp", "--target", "0.7")
    return cli.folder / "imp"


@pytest.mark.parametrize("name", ["leaderboard", "curves", "landscape", "tuning", "track"])
def test_a_page_opens(show: Show, root: Path, name: str) -> None:
    page = show(name, root, benchmark="mine")
    assert not page.exception
    assert not page.error


def test_the_leaderboard_says_what_is_not_known(show: Show, root: Path) -> None:
    page = show("leaderboard", root, benchmark="mine")
    said = " ".join(str(one.value) for one in (*page.markdown, *page.caption, *page.info, *page.warning))
    assert "These runs were imported, and not trained here: not known are the order of the data" in said


def test_a_trial_says_where_it_came_from(show: Show, root: Path) -> None:
    name = next(path.name for path in (root / "mine" / "trials").iterdir())
    page = show("trial", root, benchmark="mine", trial=name.rsplit("--", 1)[1])
    assert not page.exception
    assert [one.value for one in page.subheader] == ["Settings", "Where it was imported from"]
    # nobody here can train it again; what "Share" gives are the address, and the command that shows the trial
    assert not [code.value for code in page.code if "thalweg run" in code.value]
    assert [code.value.split()[:3] for code in page.code][1:] == [["thalweg", "results", "show"]]
