"""``thalweg claims``: trains shared trials once, keeps each seed, and trusts no measurements of other versions."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest

from support import TINY, CommandLine
from thalweg.claims.identity import packages
from thalweg.store.claims import identity_hash

PLUGIN = Path(__file__).with_name("claim_plugin.py")
OURS = ("losses", "moves", "alone")


@pytest.fixture
def claims(cli: CommandLine) -> CommandLine:
    shutil.copy(PLUGIN, cli.folder / "mine.py")
    cli.environment["CLAIM_LOG"] = str(cli.folder / "log.txt")
    return cli


def run(claims: CommandLine, *words: str, code: int = 0) -> Any:
    return claims.json("claims", "run", *words, "--results", "r", "--plugin", "mine.py", "--quiet", code=code)


def logged(claims: CommandLine) -> list[str]:
    path = claims.folder / "log.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_claims_share_trials_and_nothing_is_done_twice(claims: CommandLine) -> None:
    first = run(claims, *OURS)
    assert first["outcome"] == "complete"
    assert first["trials"] == {"total": 6, "trained": 6, "cached": 0, "diverged": 0, "failed": 0}
    found = {row["id"]: row for row in first["claims"]}
    assert (found["moves"]["verdict"], found["alone"]["verdict"]) == ("holds", "holds")
    assert found["losses"]["seeds"] == found["losses"]["seeds_wanted"] == 3
    assert logged(claims) == ["quick 0", "quick 1", "quick 2"]
    again = run(claims, *OURS)
    assert (again["trials"]["trained"], again["trials"]["cached"]) == (0, 6)
    assert logged(claims) == ["quick 0", "quick 1", "quick 2"]
    assert again["claims"] == first["claims"]
    # one part of the trials has the probe of the experiment
    trials = list((claims.folder / "r/claims/trained/trials").iterdir())
    assert len(trials) == 6
    assert {path.name.split("--")[0] for path in trials} == {"bowl.bowl"}


def test_measurements_are_kept_where_others_look_for_them(claims: CommandLine) -> None:
    run(claims, "alone")
    (folder,) = (claims.folder / "r/claims/alone").iterdir()
    document = json.loads((folder / "claim.json").read_text(encoding="utf-8"))
    assert folder.name == f"quick--{identity_hash(document['identity'])}"
    assert sorted(path.name for path in folder.iterdir()) == ["claim.json", "measurements.parquet"]
    table = pd.read_parquet(folder / "measurements.parquet")
    assert table["seed"].tolist() == [0, 1, 2]
    assert table["value"].tolist() == [1.5, 1.51, 1.52]
    assert set(document["measured"]) == {"0", "1", "2"}
    assert document["identity"]["packages"].keys() == {"torch", "numpy", "scipy"}


def test_a_claim_alone_and_in_several_processes_has_the_same_numbers(claims: CommandLine) -> None:
    first = run(claims, *OURS)
    two = claims.json("claims", "run", *OURS, "--results", "two", "--plugin", "mine.py", "--quiet", "-j", "2")
    for one, other in zip(first["claims"], two["claims"], strict=True):
        assert one["parts"] == other["parts"]


def test_fresh_measures_again_and_trains_nothing(claims: CommandLine) -> None:
    run(claims, "alone", "losses")
    again = run(claims, "alone", "losses", "--fresh")
    assert again["trials"]["trained"] == 0
    assert logged(claims) == ["quick 0", "quick 1", "quick 2"] * 2


def test_tiers_are_measured_apart(claims: CommandLine) -> None:
    run(claims, "alone")
    full = run(claims, "alone", "--tier", "full")
    assert [row["id"] for row in full["claims"] if row["verdict"]] == ["alone"]
    assert logged(claims)[3:] == ["full 0", "full 1"]
    assert len(list((claims.folder / "r/claims/alone").iterdir())) == 2


def test_a_failed_seed_is_told_costs_no_other_seed_and_is_measured_next_time(claims: CommandLine) -> None:
    claims.environment["CLAIM_FAIL"] = "1"
    report = run(claims, "alone", code=1)
    (row,) = report["claims"]
    assert (row["verdict"], row["seeds"]) == ("inconclusive", 2)
    assert row["parts"][0]["lost"] == ["seed 1: not measured"]
    assert any("this seed cannot be measured" in note for note in row["notes"])
    assert report["failures"][0]["claim"] == "alone, seed 1"
    del claims.environment["CLAIM_FAIL"]
    assert run(claims, "alone")["claims"][0]["verdict"] == "holds"
    assert logged(claims) == ["quick 0", "quick 1", "quick 2", "quick 1"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_costs_the_seed_in_hand(claims: CommandLine, number: int) -> None:
    claims.environment["CLAIM_WAIT"] = "2"
    process = claims.start("claims", "run", "alone", "--results", "r", "--plugin", "mine.py", "--quiet")
    while "quick 2" not in logged(claims):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    del claims.environment["CLAIM_WAIT"]
    partly = claims.json("claims", "show", "alone", "--results", "r", "--plugin", "mine.py")["claims"][0]
    assert (partly["verdict"], partly["seeds"]) == ("inconclusive", 2)
    assert run(claims, "alone")["claims"][0]["verdict"] == "holds"
    assert logged(claims) == ["quick 0", "quick 1", "quick 2", "quick 2"]


def test_a_kill_between_two_renames_loses_nothing(claims: CommandLine) -> None:
    run(claims, "alone")
    (folder,) = (claims.folder / "r/claims/alone").iterdir()
    folder.rename(claims.folder / "r/claims/.working" / f"alone--{folder.name}.old")
    run(claims, "alone")
    assert logged(claims) == ["quick 0", "quick 1", "quick 2"]


def test_measurements_of_other_versions_are_shown_and_not_trusted(claims: CommandLine) -> None:
    run(claims, "alone")
    with mock.patch("thalweg.claims.identity.packages", return_value=packages() | {"torch": "9.9"}):
        shown = claims.json("claims", "show", "alone", "--results", "r", "--plugin", "mine.py")["claims"][0]
        assert shown["verdict"] == "holds"
        assert "measured with torch" in shown["notes"][0]
        again = run(claims, "alone")["claims"][0]
        assert again["notes"] == []
    assert logged(claims) == ["quick 0", "quick 1", "quick 2"] * 2
    assert len(list((claims.folder / "r/claims/alone").iterdir())) == 2


def test_a_changed_plugin_file_is_another_version(claims: CommandLine) -> None:
    run(claims, "alone")
    path = claims.folder / "mine.py"
    path.write_text(path.read_text(encoding="utf-8").replace("0.5)", "0.75)"), encoding="utf-8")
    row = run(claims, "alone")["claims"][0]
    assert row["statistic"] == pytest.approx(1.76)


def test_measurements_on_other_trials_are_made_again(claims: CommandLine) -> None:
    run(claims, "losses")
    (path,) = (claims.folder / "r/claims/losses").glob("*/claim.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    trials = document["measured"]["1"]["trials"]
    document["measured"]["1"]["trials"] = ["0" * 12, *trials[1:]]
    path.write_text(json.dumps(document), encoding="utf-8")
    claims("claims", "run", "losses", "--results", "r", "--plugin", "mine.py", "--quiet")
    again = json.loads(path.read_text(encoding="utf-8"))["measured"]
    assert again["1"]["trials"] == trials
    assert again["0"] == document["measured"]["0"]  # this seed was kept


def test_a_changed_table_is_refused_and_measured_again(claims: CommandLine) -> None:
    run(claims, "alone")
    (path,) = (claims.folder / "r/claims/alone").glob("*/measurements.parquet")
    table = pd.read_parquet(path)
    table.assign(value=-1.0).to_parquet(path)
    shown = claims.json("claims", "show", "alone", "--results", "r", "--plugin", "mine.py")["claims"][0]
    assert shown["verdict"] is None
    assert "has changed since it was written" in shown["notes"][0]
    assert "has changed" in claims("results", "verify", "--results", "r", code=1).stdout
    assert run(claims, "alone")["claims"][0]["verdict"] == "holds"


def test_packed_claims_are_read_and_not_written(claims: CommandLine) -> None:
    first = run(claims, *OURS)
    claims("results", "pack", "r", "--out", "packed")
    words = ("--results", "packed", "--plugin", "mine.py")
    assert claims.json("claims", "report", *OURS, *words)["claims"] == first["claims"]
    assert claims.json("results", "verify", "--results", "packed")["claims"] == 3
    text = claims("claims", "run", "alone", *words, code=2).stderr
    assert "packed results are only read" in text
    claims("results", "unpack", "packed/claims.thalweg", "--out", "again")
    assert (
        claims.json("claims", "report", *OURS, "--results", "again", "--plugin", "mine.py")["claims"] == first["claims"]
    )
    (claims.folder / "both").mkdir()
    shutil.copytree(claims.folder / "again/claims", claims.folder / "both/claims")
    shutil.copy(claims.folder / "packed/claims.thalweg", claims.folder / "both")
    both = claims("claims", "show", "alone", "--results", "both", "--plugin", "mine.py", code=2).stderr
    assert "only one of the two can count" in both


def test_no_benchmark_may_be_called_claims(claims: CommandLine) -> None:
    (claims.folder / "claims.toml").write_text(TINY, encoding="utf-8")
    assert "belongs to the results of claims" in claims("run", "claims.toml", code=2).stderr


def test_the_results_of_claims_are_no_benchmark(claims: CommandLine) -> None:
    run(claims, "losses")
    assert claims("results", "list", "--results", "r", code=3).stdout == ""
    listed = claims.json("results", "list", "--results", "r/claims")
    assert len(listed["trials"]) == 6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "lossse"), "no claim 'lossse'; did you mean 'losses'?"),
        (("run", "--tier", "qick"), "--tier: no tier 'qick'; did you mean 'quick'?"),
        (("show", "losses", "--tier", "full"), "losses: no tier 'full'; there are: quick"),
        (("report", "--format", "xml"), "--format: no format 'xml'"),
        (("run", "alone", "-j", "none"), "-j: 'none' is no number of workers"),
    ],
)
def test_mistakes_are_one_line(claims: CommandLine, words: tuple[str, ...], told: str) -> None:
    text = claims("claims", *words, "--results", "r", "--plugin", "mine.py", code=2).stderr
    assert told in text
    assert len(text.strip().splitlines()) == 1


def test_an_option_before_the_command_is_no_silent_loss(claims: CommandLine) -> None:
    text = claims("claims", "--results", "r", "run", "alone", "--plugin", "mine.py", code=2).stderr
    assert "--results: give it after the command: thalweg claims run --results" in text
    assert not (claims.folder / "r").exists()


def test_nothing_measured_is_told(claims: CommandLine) -> None:
    text = claims("claims", "report", *OURS, "--results", "r", "--plugin", "mine.py", code=3).stderr
    assert "no claim is measured in r" in text


def test_ids_in_lower_case_and_formats(claims: CommandLine) -> None:
    run(claims, *OURS)
    words = ("--results", "r", "--plugin", "mine.py")
    shown = claims("claims", "show", "LOSSES", *words).stdout
    assert "loss: sgd / adam" in shown
    markdown = claims("claims", "report", *OURS, "--format", "markdown", *words).stdout
    assert "| claim | verdict |" in markdown
    claims("claims", "report", *OURS, "--format", "html", "--out", "c.html", *words)
    page = (claims.folder / "c.html").read_text(encoding="utf-8")
    assert "one is above zero" in page
    assert "<svg" in page
    listed = claims("claims", *words).stdout
    assert "alone" in listed


def test_figures_are_drawn_into_a_folder(claims: CommandLine) -> None:
    run(claims, "alone", "losses")
    words = ("--results", "r", "--plugin", "mine.py")
    done = claims("claims", "figures", *OURS, "--out", "drawn", *words)
    folder = claims.folder / "drawn"
    assert sorted(path.name for path in folder.iterdir()) == ["one-page.html", "one-picture.svg"]
    assert (folder / "one-picture.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "'../outside' is no name of a figure" in done.stderr
    assert "not measured, so without figures: moves" in done.stderr
    (claims.folder / "file").write_text("", encoding="utf-8")
    assert "--out file: cannot be written" in claims("claims", "figures", *OURS, "--out", "file", *words, code=2).stderr
