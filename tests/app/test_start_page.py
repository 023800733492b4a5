"""The start page: the way to each task, what came out, the trials, and an optimizer of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from thalweg.app.main import PAGES
from thalweg.present import guide
from thalweg.present.start import FEATURED, OWN, OWN_COMMANDS, TASKS
from thalweg.registry import load_registry

Show = Callable[..., AppTest]
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def links(page: AppTest) -> dict[str, tuple[str, dict[str, list[str]]]]:
    """The page's links by their labels: the page and the choices that each leads to."""
    found = {}
    for each in page.markdown:
        if each.value.startswith("[") and "](/" in each.value:
            label, _, target = each.value[1:-1].partition("](")
            parts = urlsplit(target)
            found[label] = (parts.path.strip("/"), parse_qs(parts.query))
    return found


def test_every_task_leads_to_a_page_that_is_there(show: Show) -> None:
    page = show("start", REFERENCE)
    there = {one.address for group in PAGES.values() for one in group}
    found = links(page)
    for task in TASKS:
        assert task.question in found
        assert found[task.question][0] == task.page
    assert {target for target, _ in found.values()} <= there


def test_each_task_is_answered_on_its_page(show: Show) -> None:
    found = links(show("start", REFERENCE))
    for label, (page, query) in found.items():
        if page in ("docs", "plugins"):
            continue
        shown = show(page, REFERENCE, **{key: values[0] for key, values in query.items()})
        assert not [warning.value for warning in shown.warning if "Unknown" in warning.value], label
        assert not shown.error, label


def test_the_featured_claims_have_a_picture(show: Show) -> None:
    page = show("start", REFERENCE)
    assert [name for name in links(page) if name.startswith("How it was decided")] == [
        f"How it was decided: {name}" for name in FEATURED
    ]
    for name in FEATURED:
        shown = show("start", REFERENCE, finding=name)
        assert len(shown.get("vega_lite_chart")) == 1, name


def test_without_results_the_page_says_what_to_type(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thalweg.app.data._reference", lambda: None)
    page = show("start", tmp_path / "nothing")
    assert "thalweg run quick" in [code.value for code in page.code]


def test_trials_that_diverged_are_one_click_away(show: Show, results: Path) -> None:
    page = show("start", results, benchmark="tiny")
    bad = {label: query for label, (_, query) in links(page).items() if "wild" in label}
    assert bad
    (hash_,) = next(iter(bad.values()))["trial"]
    trial = show("trial", results, benchmark="tiny", trial=hash_)
    assert "Training loss" in trial.warning[0].value
    assert "1,000,000 times its first loss" in trial.warning[0].value
    assert "learning rate is 1e\\+06" in trial.warning[0].value or "1e+06" in trial.warning[0].value


def test_the_optimizer_of_the_page_is_a_plugin_that_trains(
    tmp_path: Path, thalweg: Callable[..., int], results: Path
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(OWN, encoding="utf-8")
    assert "sign-sgd" in [entry.name for entry in load_registry([plugin]).entries("optimizers")]
    run, app = OWN_COMMANDS.splitlines()
    words = run.replace("mine.py", str(plugin)).split()
    assert app.split()[:2] == ["thalweg", "app"]
    shutil.copytree(results / "tiny", tmp_path / "unused")
    # the page's command, on a workload that takes no second
    only = ["--only", "workload=quadratic", "--only", "seed=0"]
    assert thalweg(*words[1:], *only, "--results", tmp_path / "out") == 0


def test_the_docs_are_there_and_their_links_lead_to_pages(show: Show, results: Path) -> None:
    assert guide.pages() == list(guide.PAGES)
    for name in guide.PAGES:
        shown = guide.text(name)
        assert ".md)" not in shown.replace("/docs?doc", "")
        assert "![" not in shown
    page = show("guide", results, doc="plugins")
    assert "Writing a plugin" in page.markdown[0].value
