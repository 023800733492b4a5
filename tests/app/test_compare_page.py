"""The page "Compare": the verdicts of ``thalweg compare``, settings that differ, and what cannot be compared."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from support import CommandLine

Show = Callable[..., AppTest]

BOWL = """
title = "Bowl"
seeds = 6

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
budget = { steps = 20 }
evaluate_every = { steps = 5 }
target = { metric = "loss", value = 5.0 }

[optimizers.adam]

[optimizers.sgd]
lr = 0.01
"""


def text(elements: Iterable[object]) -> str:
    return "\n".join(str(getattr(element, "value", "")) for element in elements)


@pytest.fixture
def bowl(cli: CommandLine) -> CommandLine:
    (cli.folder / "bowl.toml").write_text(BOWL, encoding="utf-8")
    cli("run", "bowl.toml", "--results", "base", "--quiet")
    return cli


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app asks for a token, so its visitors may type folders."""
    monkeypatch.setenv("THALWEG_APP_TOKEN", "sixteen-characters")


def command_of(page: AppTest) -> str:
    """The command line that the page shows, which is the one that it shares."""
    (command,) = {str(block.value) for block in page.code if block.value.startswith("thalweg compare")}
    return command


def rows_of(page: AppTest) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of the table of verdicts, by workload and metric."""
    table = page.dataframe[0].value
    return {(row["workload"], row["metric"]): row for row in table.to_dict("records")}


def test_the_verdict_of_two_optimizers_is_the_one_that_the_command_prints(show: Show, bowl: CommandLine) -> None:
    link = {"baseline-optimizer": "sgd", "candidate-optimizer": "adam"}
    page = show("compare", bowl.folder / "base", benchmark="bowl", **link)
    command = command_of(page)
    words = shlex.split(command)[1:]
    found = bowl.json(*words, code=1)
    assert found["verdict"] == "worse"
    printed = bowl(*words, "--format", "markdown", code=1).stdout
    shown = rows_of(page)
    assert len(shown) == len(found["rows"]) == 2
    for row in found["rows"]:
        cells = shown[row["workload"], row["metric"]]
        assert cells["verdict"] == row["verdict"]
        for name in ("difference", "interval", "baseline", "candidate"):
            assert f"| {cells[name]} |" in printed, name
    assert f"worse: {words[2]} against {words[1]}" in text(page.markdown)
    settings = page.dataframe[1].value.set_index("setting")
    assert list(settings.loc["optimizer", ["baseline", "candidate"]]) == ["sgd", "adam"]
    assert "seed" not in settings.index
    assert "settings are equal" in text(page.caption)
    # differences of two metrics, and the mean curves
    assert len(page.get("vega_lite_chart")) == 3


def test_metric_margin_and_pairs_are_those_of_the_command(show: Show, bowl: CommandLine) -> None:
    link = {"baseline-optimizer": "sgd", "candidate-optimizer": "adam", "by": "loss", "margins": "900%"}
    page = show("compare", bowl.folder / "base", benchmark="bowl", **link)
    page.toggle(key="paired").set_value(False).run()
    assert not page.exception
    command = command_of(page)
    assert command.endswith("--metric loss --margin 900% --unpaired")
    found = bowl.json(*shlex.split(command)[1:], code=None)
    assert {row["metric"]: row["verdict"] for row in found["rows"]} == {
        metric: row["verdict"] for (_, metric), row in rows_of(page).items()
    }
    page.text_input(key="margins").set_value("3").run()
    assert "--margin 3: give percentage points" in text(page.error)
    page.text_input(key="margins").set_value("").run()
    assert not page.error


def test_a_cost_that_needs_other_curves_is_compared_from_the_address(show: Show, bowl: CommandLine) -> None:
    """A side that was read for another metric lacks the curves, and would have no number."""
    link = {"baseline-optimizer": "sgd", "candidate-optimizer": "adam", "by": "area_under_curve"}
    page = show("compare", bowl.folder / "base", benchmark="bowl", **link)
    command = command_of(page)
    (row,) = bowl.json(*shlex.split(command)[1:], code=None)["rows"]
    ((_, shown),) = rows_of(page).items()
    assert row["seeds"] == 6
    assert shown["verdict"] == row["verdict"] != "nothing compared"


def test_another_definition_of_a_workload_is_not_compared(show: Show, bowl: CommandLine, typing: None) -> None:
    (bowl.folder / "bowl.toml").write_text(BOWL.replace("value = 5.0", "value = 4.0"), encoding="utf-8")
    bowl("run", "bowl.toml", "--results", "other", "--quiet")
    link = {"kind": "benchmarks", "candidate-source": "folder", "candidate-folder": str(bowl.folder / "other")}
    page = show("compare", bowl.folder / "base", benchmark="bowl", **link)
    assert "Nothing was compared" in text(page.info)
    reasons = page.dataframe[0].value
    assert set(reasons["note"]) == {"the workload's definition is another one"}
    assert "The curves are not compared: the workload's definition is another one." in text(page.warning)
    settings = page.dataframe[1].value.set_index("setting")
    assert settings.loc["target", "baseline"].endswith("at most 5")
    assert settings.loc["target", "candidate"].endswith("at most 4")
    assert settings.loc["target", "where"] == "everywhere"


def test_two_folders_are_compared_optimizer_by_optimizer(show: Show, bowl: CommandLine, typing: None) -> None:
    shutil.copytree(bowl.folder / "base", bowl.folder / "other")
    for path in bowl.folder.glob("other/bowl/trials/*/trial.json"):
        path.write_text(path.read_text(encoding="utf-8").replace('"threads": 1', '"threads": 7'), encoding="utf-8")
    link = {"kind": "benchmarks", "candidate-source": "folder", "candidate-folder": str(bowl.folder / "other")}
    page = show("compare", bowl.folder / "base", benchmark="bowl", **link)
    assert set(page.dataframe[0].value["verdict"]) == {"same"}
    assert sorted(set(page.dataframe[0].value["optimizer"])) == ["adam", "sgd"]
    assert "Different machines or versions" in text(page.caption)
    settings = page.dataframe[1].value.set_index("setting")
    assert list(settings.loc["environment threads"]) == ["1", "7", "everywhere"]


@pytest.mark.parametrize(("folder", "kind", "expected"), [
    ("nowhere", "error", "there is no folder"),
    ("empty", "info", "holds no results"),
    ("bowl.toml", "error", "is a file"),
    ("torn", "error", "is no packed file"),
])  # fmt: skip
def test_a_folder_without_results_is_one_sentence(
    show: Show, bowl: CommandLine, typing: None, folder: str, kind: str, expected: str
) -> None:
    (bowl.folder / "empty").mkdir()
    (bowl.folder / "torn").mkdir()
    (bowl.folder / "torn" / "bowl.thalweg").write_bytes(b"cut off")
    path = bowl.folder / folder / ("bowl.thalweg" if folder == "torn" else "")
    link = {"kind": "benchmarks", "candidate-source": "folder", "candidate-folder": str(path)}
    page = show("compare", bowl.folder / "base", benchmark="bowl", **link)
    assert expected in text(getattr(page, kind))
    assert not page.dataframe


def test_folders_are_typed_only_where_a_token_guards_the_app(
    show: Show, bowl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever types a folder reads what the user can read."""

    def sources() -> list[str]:
        page = show("compare", bowl.folder / "base", benchmark="bowl")
        return list(page.selectbox(key="candidate-source").options)

    monkeypatch.delenv("THALWEG_APP_TOKEN", raising=False)
    monkeypatch.delenv("THALWEG_APP_HOSTS", raising=False)
    assert "folder" not in sources()
    monkeypatch.setenv("THALWEG_APP_TOKEN", "sixteen-characters")
    assert "folder" in sources()
    monkeypatch.setenv("THALWEG_APP_HOSTS", "results.example.org")
    assert "folder" not in sources()


def test_two_trials_show_what_differs_and_why_one_diverged(show: Show, results: Path) -> None:
    link = {"kind": "trials", "baseline-workload": "quadratic", "baseline-optimizer": "sgd", "baseline-seed": "1"}
    link |= {"candidate-workload": "quadratic", "candidate-optimizer": "wild", "candidate-seed": "1"}
    page = show("compare", results, benchmark="tiny", **link)
    assert "quadratic · wild · seed 1 against quadratic · sgd · seed 1" in text(page.subheader)
    assert "The baseline is done." in text(page.success)
    assert "The candidate is diverged: " in text(page.warning)
    finals, settings = page.dataframe[0].value, page.dataframe[1].value.set_index("setting")
    assert list(settings.index) == ["optimizer lr"]
    assert list(settings.loc["optimizer lr"]) == ["0.01", "1e+06"]
    assert "train loss" in set(finals["what"])
    assert len(page.get("vega_lite_chart")) == 1
    assert "candidate: wild, seed 1 has one finite value, at step 0, and no line." in text(page.caption)


def test_trials_of_two_problems_are_told_apart(show: Show, results: Path) -> None:
    link = {"kind": "trials", "baseline-workload": "digits-mlp", "candidate-workload": "quadratic"}
    page = show("compare", results, benchmark="tiny", **link)
    assert "different problems or data" in text(page.warning)
    assert "The budgets differ: 2 epochs and 20 steps." in text(page.warning)


def test_the_sides_begin_with_the_sidebars_choice(show: Show, results: Path) -> None:
    page = show("compare", results, benchmark="tiny")
    page.selectbox(key="candidate-benchmark").set_value("outside").run()
    assert page.selectbox(key="baseline-benchmark").value == "tiny"
    page.selectbox(key="benchmark").set_value("outside").run()
    assert not page.exception
    assert page.selectbox(key="baseline-benchmark").value == "outside"


def test_damaged_trials_are_named(show: Show, bowl: CommandLine) -> None:
    paths = sorted(bowl.folder.glob("base/bowl/trials/*--sgd--*/trial.json"))
    paths[0].write_text("{", encoding="utf-8")
    page = show("compare", bowl.folder / "base", benchmark="bowl")
    assert f"{paths[0].parent.name} cannot be read" in text(page.caption)
    assert "1 trial of the candidate is not there: only seeds of both sides are compared" in text(page.caption)


def test_an_optimizer_of_the_address_that_is_not_there_is_told(show: Show, bowl: CommandLine) -> None:
    page = show("compare", bowl.folder / "base", benchmark="bowl", **{"baseline-optimizer": "nothing"})
    assert "Unknown optimizer 'nothing'" in text(page.warning)
