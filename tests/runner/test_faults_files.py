"""Files in the results that are damaged, cut off or somebody else's."""

from __future__ import annotations

from pathlib import Path

from faults import tiny
from support import CommandLine, leftovers, results


def test_damaged_and_foreign_files_are_told_and_never_fatal(cli: CommandLine) -> None:
    words = tiny(cli, "none", "slow")
    cli(*words)
    there = results(cli, "tiny")
    adam, none, slow = (
        next(path for path in there.trials.iterdir() if text in (path / "trial.json").read_text())
        for text in ('"optimizer": "adam"', "fault=none", "fault=slow")
    )
    curve = adam / "curve.parquet"
    curve.write_bytes(curve.read_bytes()[:-20])
    (none / "trial.json").write_text('{"schema": 1, "hash": "', encoding="utf-8")
    (slow / "trial.json").write_bytes(b"\xff\xfe\x00")
    (there.trials / "notes.txt").write_text("mine", encoding="utf-8")
    (there.trials / "photos").mkdir()
    (there.working / "stray").mkdir()
    (there.path / "more.txt").write_text("mine", encoding="utf-8")
    told = cli("results", "verify", code=1).stdout
    for path in (curve, none, slow, there.trials / "notes.txt", there.trials / "photos"):
        assert str(path.relative_to(cli.folder)) in told, told
    assert "1 whole trial, " in told
    assert len(cli.json("results", "list")["unreadable"]) == 4
    cli("leaderboard", "tiny.toml")
    run = cli(*words)
    for path in (none, slow, there.trials / "notes.txt", there.trials / "photos"):
        assert f"{path.name} cannot be read" in run.stderr
    assert "4 trials: 3 trained, 1 done before" in run.stdout
    # what was damaged is new, what is somebody else's is there and told
    assert cli.json(*words)["trials"]["cached"] == 4
    assert leftovers(cli, "tiny") == [there.working / "stray"]
    faults = cli.json("results", "verify", code=1)
    assert faults["whole"] == 4
    assert {Path(fault["path"]).name for fault in faults["faults"]} == {"notes.txt", "photos"}
    assert (there.trials / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_what_is_damaged_or_foreign_is_set_aside_and_nothing_is_deleted(cli: CommandLine) -> None:
    words = tiny(cli, "none")
    cli(*words)
    there = results(cli, "tiny")
    first, second = sorted(there.trials.iterdir())[:2]
    (first / "curve.parquet").write_bytes(b"PAR1")
    (second / "mine.txt").write_text("mine", encoding="utf-8")
    (there.trials / "notes.txt").write_text("mine", encoding="utf-8")
    (there.path / "set-aside").mkdir()
    (there.path / "set-aside" / "notes.txt").write_text("older", encoding="utf-8")
    moved = cli.json("results", "verify", "--set-aside", code=1)["set_aside"]
    assert {Path(path).name for path in moved} == {first.name, "mine.txt", "notes.txt (2)"}
    aside = there.path / "set-aside"
    assert (aside / first.name / "curve.parquet").read_bytes() == b"PAR1"
    assert (aside / "notes.txt").read_text(encoding="utf-8") == "older"
    assert (aside / "notes.txt (2)").read_text(encoding="utf-8") == "mine"
    assert second.is_dir()
    cli("results", "verify")
    assert cli.json(*words)["trials"]["trained"] == 1
    assert "0 faults" in cli("results", "verify").stdout
