"""``thalweg compare`` on results folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from support import SCALED_SGD, TINY, CommandLine

BOWL = TINY.replace("seeds = 1", "seeds = 6") + '\n[workloads.bowl.target]\nmetric = "loss"\nvalue = 5.0\n'


def run(cli: CommandLine, results: str, *words: str) -> None:
    cli("run", "bowl.toml", "--results", results, *words)


@pytest.fixture
def bowl(cli: CommandLine) -> CommandLine:
    (cli.folder / "bowl.toml").write_text(BOWL, encoding="utf-8")
    run(cli, "base")
    return cli


def test_the_same_results_are_the_same(bowl: CommandLine) -> None:
    found = bowl.json("compare", "base", "base")
    assert found["verdict"] == "same"
    assert {(row["workload"], row["optimizer"], row["metric"]) for row in found["rows"]} == {
        ("bowl", optimizer, metric) for optimizer in ("adam", "sgd") for metric in ("loss", "steps_to_target")
    }
    promised = {"workload", "optimizer", "metric", "baseline", "candidate", "difference", "low", "high", "verdict"}
    assert all(promised <= row.keys() for row in found["rows"])


def test_two_optimizers_of_one_folder_are_compared_with_each_other(bowl: CommandLine) -> None:
    found = bowl.json("compare", "base:sgd", "base/bowl:adam", code=1)
    loss = next(row for row in found["rows"] if row["metric"] == "loss")
    assert (loss["optimizer"], loss["against"], loss["verdict"]) == ("adam", "sgd", "worse")
    assert bowl.json("compare", "base:adam", "base:sgd")["verdict"] == "better"
    text = bowl("compare", "base:sgd", "base:adam", "--format", "markdown", code=1).stdout
    assert text.startswith("**worse: base:adam against base:sgd (")
    assert "| bowl | adam (against sgd) | loss |" in text


def test_another_version_of_a_plugin_is_compared_with_the_one_here(bowl: CommandLine) -> None:
    for results, factor in (("old", 1.0), ("new", 0.25)):
        (bowl.folder / "mine.py").write_text(SCALED_SGD.replace("FACTOR", str(factor)), encoding="utf-8")
        words = ("--plugin", "mine.py", "--with", "optimizer=mine:lr=0.01", "--seeds", "6")
        run(bowl, results, *words, "--only", "optimizer=mine:lr=0.01")
    found = bowl.json("compare", "old", "new", "--plugin", "mine.py", code=1)
    rows = [row for row in found["rows"] if row["verdict"] != "nothing compared"]
    assert [(row["optimizer"], row["seeds"]) for row in rows] == [("mine:lr=0.01", 6)] * 2
    assert rows[0]["verdict"] == "worse"
    assert "6 trials of the baseline were trained by other versions of plugins than those here" in found["notes"]


def test_seeds_that_one_side_lacks_are_counted(bowl: CommandLine) -> None:
    run(bowl, "some", "--only", "seed=0,1,2")
    found = bowl.json("compare", "base:sgd", "some:sgd")
    assert found["notes"] == ["3 trials of the candidate are not there: only seeds of both sides are compared"]
    assert {(row["seeds"], row["verdict"]) for row in found["rows"]} == {(3, "same")}


def test_junit_has_a_case_a_row(bowl: CommandLine) -> None:
    document = bowl("compare", "base:sgd", "base:adam", "--format", "junit", code=1).stdout
    (suite,) = ElementTree.fromstring(document.encode()).iter("testsuite")
    cases = suite.findall("testcase")
    failures = [case.find("failure") for case in cases if case.find("failure") is not None]
    assert suite.attrib["tests"] == str(len(cases)) == "2"
    assert suite.attrib["failures"] == str(len(failures)) != "0"
    assert failures[0] is not None
    assert failures[0].attrib["message"].startswith("worse: ")
    assert all(case.attrib["classname"] == "bowl" and case.attrib["name"] for case in cases)


def test_too_few_seeds_are_undecided_with_a_code_of_their_own(bowl: CommandLine) -> None:
    run(bowl, "few", "--only", "seed=0,1,2,3,4")
    found = bowl.json("compare", "few:sgd", "few:adam", code=4)
    assert found["verdict"] == "undecided"
    assert {(row["verdict"], row["smallest_p"], row["tested_at"]) for row in found["rows"]} == {
        ("undecided", 1 / 32, 0.025)
    }
    steps = next(row for row in found["rows"] if row["metric"] == "steps_to_target")
    assert steps["more_seeds"] == 1
    text = bowl("compare", "few:sgd", "few:adam", "--format", "markdown", code=4).stdout
    assert "5 seeds give no p below 0.031, and this row needs 0.025, about 1 more seed would decide" in text
    allowed = bowl.json("compare", "few:sgd", "few:adam", "--allow-undecided")
    assert (allowed["verdict"], allowed["notes"][-1][:31]) == ("undecided", "undecided counts as done here, ")
    for words, code, kind in (((), 4, "failure"), (("--allow-undecided",), 0, "skipped")):
        document = bowl("compare", "few:sgd", "few:adam", "--format", "junit", *words, code=code).stdout
        assert len(list(ElementTree.fromstring(document.encode()).iter(kind))) == 2


def test_equal_curves_are_the_same_at_any_number_of_seeds_and_equal_outcomes_are_not(bowl: CommandLine) -> None:
    run(bowl, "one", "--only", "seed=0")
    found = bowl.json("compare", "base", "one")
    assert found["verdict"] == "same"
    assert all(row["equal"] for row in found["rows"])
    shutil.copytree(bowl.folder / "one", bowl.folder / "bent")
    for path in bowl.folder.glob("bent/bowl/trials/*/curve.parquet"):
        curve = pd.read_parquet(path)
        curve.loc[curve.index[1], "value"] *= 1 + 1e-6  # not the last: the outcome stays
        curve.to_parquet(path)
    bent = bowl.json("compare", "base", "bent", code=4)
    assert not any(row["equal"] for row in bent["rows"])
    assert {row["difference"] for row in bent["rows"]} == {0.0, None}


def test_where_nothing_is_compared_the_exit_code_is_three(bowl: CommandLine) -> None:
    run(bowl, "half", "--only", "optimizer=sgd")
    (bowl.folder / "bowl.toml").write_text(BOWL.replace("steps = 20", "steps = 30"), encoding="utf-8")
    run(bowl, "longer")
    found = bowl.json("compare", "base", "longer", code=3)
    assert found["verdict"] == "nothing compared"
    assert {row["note"] for row in found["rows"]} == {"the workload's definition is another one"}
    document = bowl("compare", "base", "longer", "--format", "junit", code=3).stdout
    (suite,) = ElementTree.fromstring(document.encode()).iter("testsuite")
    assert (suite.attrib["errors"], len(list(suite.iter("error")))) == ("1", 1)
    half = bowl.json("compare", "base", "half")
    assert half["verdict"] == "same"
    assert half["notes"] == []
    assert {row["optimizer"] for row in half["rows"] if row["note"] == "not in the candidate"} == {"adam"}


def test_other_terms_of_an_optimizer_are_no_comparison(bowl: CommandLine) -> None:
    """A budget in ``[overrides]`` once made a candidate better without a word."""
    text = BOWL + "\n[overrides.bowl.sgd]\nbudget = { steps = 60 }\n"
    (bowl.folder / "bowl.toml").write_text(text, encoding="utf-8")
    run(bowl, "longer")
    found = bowl.json("compare", "base", "longer")
    notes = {row["optimizer"]: row["note"] for row in found["rows"]}
    assert notes["sgd"] == "the optimizer's budget on the workload is another one"
    assert {row["verdict"] for row in found["rows"] if row["optimizer"] == "adam"} == {"same"}
    pairs = bowl.json("compare", "longer:adam", "longer:sgd")
    assert "bowl: sgd has another budget than adam" in pairs["notes"]


def test_an_empty_folder_has_nothing_to_compare(bowl: CommandLine) -> None:
    (bowl.folder / "empty").mkdir()
    found = bowl.json("compare", "base", "empty", code=3)
    assert (found["verdict"], found["rows"]) == ("nothing compared", [])
    assert "holds no results" in found["notes"][0]


def edit(folder: Path, old: str, new: str) -> None:
    """Pretend that the trials ran elsewhere."""
    for path in folder.glob("bowl/trials/*/trial.json"):
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")


def test_other_threads_are_named(bowl: CommandLine) -> None:
    shutil.copytree(bowl.folder / "base", bowl.folder / "other")
    edit(bowl.folder / "other", '"threads": 1', '"threads": 7')
    found = bowl.json("compare", "base", "other")
    assert found["verdict"] == "same"
    assert "7 threads" in found["notes"][0]
    assert "7 threads" in found["environments"]["candidate"][0]


def test_seconds_of_two_runs_are_refused(bowl: CommandLine) -> None:
    """The same results timed three times on a busy machine once gave +58%, +112% and +34%, each certain."""
    refused = bowl("compare", "base", "base", "--metric", "seconds_to_target", code=2).stderr
    assert "'thalweg time BASELINE CANDIDATE' times both in turn" in refused


def test_a_benchmark_that_tunes_compares_the_seeds_that_count(cli: CommandLine) -> None:
    text = BOWL + "\n[tuning]\nbudgets = [2]\nextend = 0.0\n"
    (cli.folder / "bowl.toml").write_text(text, encoding="utf-8")
    run(cli, "base")
    found = cli.json("compare", "base", "base")
    assert found["verdict"] == "same"
    assert {row["seeds"] for row in found["rows"]} == {6}


@pytest.mark.parametrize(("words", "expected"), [
    (("base", "elsewhere"), "CANDIDATE elsewhere: there is no folder elsewhere"),
    (("base:adm", "base:sgd"), "BASELINE base:adm: no optimizer 'adm'; did you mean 'adam'?"),
    (("base:adam", "base"), "name an optimizer in BASELINE and in CANDIDATE"),
    (("base", "base", "--metric", "seconds_to_target"), "seconds of two runs are not compared"),
    (("base", "base", "--margin", "3"), "--margin 3: give percentage points of accuracies, as 1pp"),
    (("base", "base", "--format", "xml"), "--format: no format 'xml'"),
    (("base", "base", "--metric", "los"), "--metric: no metric 'los'; did you mean 'loss'?"),
    (("base", "base", "--benchmark", "bowls"), "no benchmark 'bowls'; did you mean 'bowl'?"),
    (("base", "bowl.toml"), "CANDIDATE bowl.toml: is a file; give a results folder"),
])  # fmt: skip
def test_mistakes_are_one_line(bowl: CommandLine, words: tuple[str, ...], expected: str) -> None:
    text = bowl("compare", *words, code=2).stderr
    assert expected in text
    assert len(text.strip().splitlines()) == 1
