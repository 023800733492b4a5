"""Runs as a user sees them: what is trained, what is cached, what is saved, and where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from support import CommandLine, results
from thalweg.store.curve import CURVE_COLUMNS
from thalweg.store.tables import read_table


def test_a_second_run_trains_nothing_and_imports_neither_torch_nor_what_draws(cli: CommandLine, small: Path) -> None:
    first = cli.json("run", "small.toml")
    assert first["trials"] == {"total": 8, "trained": 8, "cached": 0, "diverged": 0, "failed": 0}
    files = {path: path.stat().st_mtime_ns for path in results(cli).trials.rglob("*.parquet")}
    second = cli.json("run", "small.toml")
    assert second["trials"] == {"total": 8, "trained": 0, "cached": 8, "diverged": 0, "failed": 0}
    assert {path: path.stat().st_mtime_ns for path in results(cli).trials.rglob("*.parquet")} == files

    code = "import sys; sys.argv[1:] = ['run', 'small.toml', '--json']\nfrom thalweg.cli import app\n"
    code += (
        "app(standalone_mode=False)\nimport thalweg.commands.track, thalweg.commands.tuning  # which print tables too\n"
    )
    code += "assert not (found := {'torch', 'altair'} & sys.modules.keys()), found"
    subprocess.run([sys.executable, "-c", code], cwd=cli.folder, check=True, capture_output=True)


def test_fresh_trains_again_to_the_same_bits(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml")
    stored, _ = results(cli).scan()
    before = {trial.document.hash: trial.curve().drop(columns="seconds") for trial in stored}
    report = cli.json("run", "small.toml", "--fresh")
    assert report["trials"]["trained"] == 8
    stored, _ = results(cli).scan()
    for trial in stored:
        pd.testing.assert_frame_equal(
            before[trial.document.hash], trial.curve().drop(columns="seconds"), check_exact=True
        )


def test_saves_what_the_design_promises(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml")
    stored, unreadable = results(cli).scan()
    assert unreadable == []
    probed = [trial for trial in stored if trial.document.probes]
    assert len(probed) == 4
    trial = next(trial for trial in probed if trial.document.workload == "small")
    assert trial.path.name == f"small--{trial.document.trial.optimizer.name}--{trial.document.hash}"
    assert sorted(path.name for path in trial.path.iterdir()) == ["curve.parquet", "probes", "trial.json", "weights"]
    assert sorted(path.name for path in (trial.path / "weights").iterdir()) == [
        "final.safetensors",
        "initial.safetensors",
    ]
    assert sorted(path.name.split("--")[0] for path in (trial.path / "probes").iterdir()) == [
        "gradient-flow",
        "line",
        "surface",
    ]
    environment = trial.document.environment
    assert environment["threads"] == 1
    assert environment["packages"]["torch"].startswith("2.")
    assert environment["device"] == "cpu"
    assert environment["plugins"]["thalweg_plugins.optimizers"]
    assert {"cpu", "git_commit", "platform", "python"} <= environment.keys()
    assert (results(cli).path / "benchmark.toml").read_text() == small.read_text()
    plain = next(trial for trial in stored if not trial.document.probes)
    assert not (plain.path / "weights").exists()


def test_more_seeds_train_only_what_is_new(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml")
    report = cli.json("run", "small.toml", "--seeds", "3")
    assert (report["trials"]["trained"], report["trials"]["cached"]) == (4, 8)


def test_a_new_probe_is_measured_and_the_old_tables_stay(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml")
    curves = {trial.document.hash: trial.curve() for trial in results(cli).scan()[0]}
    small.write_text(small.read_text().replace("points = 5", "points = 6"), encoding="utf-8")
    report = cli.json("run", "small.toml")
    # on the weights that were saved: nothing is trained again
    assert (report["trials"]["trained"], report["trials"]["cached"]) == (0, 8)
    cli("results", "verify")
    for trial in results(cli).scan()[0]:
        names = [key.split("--")[0] for key in trial.document.probes]
        assert names.count("line") == (2 if trial.document.trial.seed == 0 else 0)
        pd.testing.assert_frame_equal(
            curves[trial.document.hash].drop(columns="seconds"), trial.curve().drop(columns="seconds")
        )
    assert cli.json("run", "small.toml")["trials"]["trained"] == 0


def test_one_trial_under_two_labels_is_trained_once_with_the_probes_of_both(cli: CommandLine, small: Path) -> None:
    text = small.read_text().replace("[probes.line]", '[optimizers.same]\noptimizer = "adam"\n[probes.line]')
    text = text.replace("[probes.gradient-flow]", '[probes.gradient-flow]\noptimizers = ["same"]')
    small.write_text(text, encoding="utf-8")
    report = cli.json(
        "run", "small.toml", "--only", "workload=small", "--only", "seed=0", "--only", "optimizer=adam,same",
        "--no-batching",
    )  # fmt: skip
    assert report["trials"]["trained"] == 1
    ((trial,), _) = results(cli).scan()
    assert sorted(key.split("--")[0] for key in trial.document.probes) == ["gradient-flow", "line", "surface"]
    rows = cli.json("leaderboard", "small.toml", "--workload", "small")["rows"]
    assert [row["value"] for row in rows if row["optimizer"] != "sgd"] == [rows[0]["value"]] * 2


def test_fresh_keeps_the_tables_of_probes_that_were_added(cli: CommandLine, small: Path) -> None:
    only = ["--only", "workload=bowl", "--only", "optimizer=sgd", "--only", "seed=0"]
    cli("run", "small.toml", *only)
    small.write_text(small.read_text().split("[probes.line]")[0], encoding="utf-8")
    cli("run", "small.toml", *only, "--fresh")
    ((trial,), _) = results(cli).scan()
    assert sorted(key.split("--")[0] for key in trial.document.probes) == ["gradient-flow", "line"]


def test_a_diverging_trial_is_a_result_and_is_cached(cli: CommandLine, small: Path) -> None:
    words = ["run", "small.toml", "--with", "optimizer=sgd:lr=1e3", "--only", "workload=bowl"]
    report = cli.json(*words)
    assert (report["trials"]["diverged"], report["trials"]["failed"]) == (2, 0)
    for trial in results(cli).scan()[0]:
        if trial.document.status == "diverged":
            text = (trial.path / "trial.json").read_text(encoding="utf-8")
            json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert cli.json(*words)["trials"]["trained"] == 0
    rows = cli.json("leaderboard", "small.toml", "--workload", "bowl", "--with", "optimizer=sgd:lr=1e3")["rows"]
    last = rows[-1]
    assert (last["optimizer"], last["diverged"], last["reached"], last["value"]) == ("sgd:lr=1e3", 2, 0, None)


def test_an_unreadable_trial_is_told_and_trained_again(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml")
    victim = next(iter(results(cli).trials.iterdir()))
    (victim / "trial.json").write_text('{"schema": 1, "ha', encoding="utf-8")
    faults = cli.json("results", "verify", code=1)["faults"]
    assert [Path(fault["path"]).name for fault in faults] == [victim.name]
    process = cli("run", "small.toml", "--json")
    assert victim.name in process.stderr
    assert json.loads(process.stdout)["trials"]["trained"] == 1
    cli("results", "verify")


def test_a_results_folder_that_cannot_be_written_is_a_users_mistake(cli: CommandLine, small: Path) -> None:
    (cli.folder / "file").write_text("", encoding="utf-8")
    process = cli("run", "small.toml", "--results", "file", code=2)
    assert process.stderr.startswith("error: file/small: cannot be written")
    assert len(process.stderr.splitlines()) == 1


def test_results_go_to_the_named_folder_else_to_the_variable(cli: CommandLine, small: Path) -> None:
    only = ["--only", "workload=bowl", "--only", "optimizer=sgd"]
    cli("run", "small.toml", *only, "--results", "here")
    assert len(list((cli.folder / "here" / "small" / "trials").iterdir())) == 2
    cli.environment["THALWEG_RESULTS"] = str(cli.folder / "there")
    cli("run", "small.toml", *only)
    assert len(list((cli.folder / "there" / "small" / "trials").iterdir())) == 2


def test_a_curve_that_was_cut_off_is_trained_again(cli: CommandLine, small: Path) -> None:
    only = ["--only", "workload=bowl", "--only", "optimizer=sgd"]
    cli("run", "small.toml", *only)
    victim = next(iter(results(cli).trials.iterdir())) / "curve.parquet"
    victim.write_bytes(victim.read_bytes()[:100])
    assert "its curve cannot be read" in cli("leaderboard", "small.toml").stderr
    assert cli.json("run", "small.toml", *only)["trials"]["trained"] == 1
    cli("results", "verify")


def test_the_curve_on_disk_has_the_declared_columns(cli: CommandLine, small: Path) -> None:

    cli("run", "small.toml", "--only", "optimizer=sgd")
    for trial in results(cli).scan()[0]:
        table = read_table(trial.files, "curve.parquet")
        assert list(table.columns) == list(CURVE_COLUMNS)
        assert (table.loc[table["step"] > 0, "seconds"] > 0).all()
