"""The page of claims: the ledger, its search, and a claim opened to its numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from support import CommandLine

Show = Callable[..., AppTest]
PLUGIN = Path(__file__).parents[1] / "claims" / "claim_plugin.py"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claims")
    cli = CommandLine(folder, own_process=False)
    shutil.copy(PLUGIN, folder / "mine.py")
    ids = ("losses", "moves", "alone")
    cli("claims", "run", *ids, "--results", "r", "--plugin", "mine.py", "--quiet")
    return folder


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def test_the_ledger_lists_claims_with_their_verdicts(show: Show, measured: Path) -> None:
    page = show("claims", measured / "r", plugins=(measured / "mine.py",))
    assert [title.value for title in page.title] == ["Claims"]
    found = [label for label in labels(page) if label.startswith(("**alone", "**losses", "**moves"))]
    assert len(found) == 3
    assert "badge[✓ holds]" in found[0]


def test_search_and_verdicts_narrow_the_ledger(show: Show, measured: Path) -> None:
    page = show("claims", measured / "r", plugins=(measured / "mine.py",), search="adam moves")
    assert [label.split("**")[1] for label in labels(page)] == ["moves"]
    page.text_input(key="search").set_value("nobody says this").run()
    assert labels(page) == []
    assert any("No claim has these words" in markdown.value for markdown in page.markdown)


def test_a_claim_opens_to_its_numbers(show: Show, measured: Path) -> None:
    page = show("claims", measured / "r", plugins=(measured / "mine.py",))
    page.button(key="open-alone").click().run()
    assert not page.exception
    assert [title.value for title in page.title] == ["alone"]
    assert [code.value for code in page.code] == ["thalweg claims run alone --tier quick --fresh --plugin mine.py"]
    assert len(page.get("vega_lite_chart")) == 2
    table = page.dataframe[0].value
    assert list(table["verdict"]) == ["holds"]
    page.button(key="back").click().run()
    assert [title.value for title in page.title] == ["Claims"]


def test_a_link_opens_a_claim(show: Show, measured: Path) -> None:
    page = show("claims", measured / "r", plugins=(measured / "mine.py",), claim="losses")
    assert [title.value for title in page.title] == ["losses"]


def test_without_measurements_the_page_says_how_to_get_them(show: Show, measured: Path, tmp_path: Path) -> None:
    page = show("claims", tmp_path / "none", plugins=(measured / "mine.py",), source="local")
    assert "thalweg claims run --tier quick -j 2" in [code.value for code in page.code]
    opened = show("claims", tmp_path / "none", plugins=(measured / "mine.py",), source="local", claim="alone")
    assert "thalweg claims run alone --tier quick" in [code.value for code in opened.code]


def test_an_empty_folder_shows_the_reference_results(show: Show, tmp_path: Path) -> None:
    page = show("claims", tmp_path / "none")
    assert not any("not measured" in label for label in labels(page))
    assert len(labels(page)) == 54
