"""Probes on trials that are already on disk: nothing trains again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from support import CommandLine, results
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import read_weights

MEASURED_AGAIN = """
import pandas
import thalweg
from thalweg import Column, Option, Probe


class Slow(Probe):
    name = "slow"
    summary = "the losses of a long line, slowly"
    needs = ("initial", "final")
    options = (Option("fault", "none", ("none", "crawl", "raise")),)
    columns = (Column("loss"),)

    def measure(self, context):
        import time
        from thalweg.landscape.evaluate import Line, flat_from, losses_at

        ends = [flat_from(context.module, state) for state in (context.weights.initial, context.weights.final)]
        if context.options["fault"] == "raise" or (context.scratch.parents[2] / "broken").exists():
            raise ValueError("there is nothing to measure")

        def crawl(done, total):
            (context.scratch.parent / "log").open("a").write(f"{done} ")
            if context.options["fault"] == "crawl" and done > 100 and not (context.scratch.parent / "once").exists():
                (context.scratch.parent / "once").write_text("")
                time.sleep(60)

        points = Line(*ends, [i / 299 for i in range(300)])
        sums = context.scratch / "line.sums"
        values = losses_at(context.module, context.problem, points, resume=sums, progress=crawl)
        return pandas.DataFrame({"loss": values["loss"].numpy()})

    def chart(self, table):
        import altair
        return altair.Chart(table, title="slow").mark_point()


@thalweg.hookimpl
def thalweg_register_probes(register):
    register(Slow)
"""


def probed(cli: CommandLine, workload: str = "small", seed: int = 0) -> StoredTrial:
    return next(
        trial
        for trial in results(cli).scan()[0]
        if (trial.document.workload, trial.document.optimizer, trial.document.trial.seed) == (workload, "adam", seed)
    )


@pytest.mark.parametrize("name", ["line", "surface", "gradient-flow"])
def test_a_probe_of_saved_weights_gives_what_it_gave_at_the_end_of_training(
    cli: CommandLine, small: Path, name: str
) -> None:
    cli("run", "small.toml", "--keep", "trajectory", "--only", "workload=small", "--only", "optimizer=adam")
    trial = probed(cli)
    (key,) = [key for key in trial.document.probes if key.startswith(name)]
    trained = trial.table(key)
    curve = (trial.path / "curve.parquet").read_bytes()
    settings = [f"{option}={value}" for option, value in trial.document.probes[key].request.probe.options.items()]
    words = [word for setting in settings for word in ("--set", setting)]
    document = cli.json("probe", trial.document.hash, name, *words)
    assert (document["key"], document["measured_before"]) == (key, True)
    document = cli.json("probe", trial.document.hash[:6], name, *words, "--fresh")
    assert (document["key"], document["measured_before"], document["status"]) == (key, False, "done")
    assert document["cost"]["seconds"] > 0
    again = probed(cli).table(key)
    if name == "gradient-flow":  # during training; of the saved weights only the start and the end
        trained = trained[trained["step"].isin([0, trained["step"].max()])].reset_index(drop=True)
    pd.testing.assert_frame_equal(trained, again, check_exact=True)
    assert (trial.path / "curve.parquet").read_bytes() == curve
    cli("results", "verify")


def test_what_a_probe_took_is_recorded_beside_the_training(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml", "--only", "workload=small", "--only", "optimizer=adam")
    trial = probed(cli)
    cost = {key.split("--")[0]: probe.cost for key, probe in trial.document.probes.items()}
    assert cost["gradient-flow"]["gradient_evaluations"] == 3
    assert cost["gradient-flow"]["seconds"] > 0
    other = probed(cli, seed=1).document.summary
    assert trial.document.summary["gradient_evaluations"] == other["gradient_evaluations"]
    assert trial.document.summary["examples"] == other["examples"]


def test_keep_saves_what_it_says_and_trains_only_where_that_is_missing(cli: CommandLine, small: Path) -> None:
    only = ["--only", "workload=bowl", "--only", "optimizer=adam"]
    cli("run", "small.toml", *only)
    assert read_weights(probed(cli, "bowl", 1).files).final is None
    cli("probe", probed(cli, "bowl", 1).document.hash, "line", code=2)
    report = cli.json("run", "small.toml", *only, "--keep", "weights")
    assert report["trials"]["trained"] == 1
    assert read_weights(probed(cli, "bowl", 1).files).final is not None
    assert cli.json("run", "small.toml", *only, "--keep", "trajectory")["trials"]["trained"] == 2
    saved = read_weights(probed(cli, "bowl", 1).files)
    assert saved.trajectory is not None
    assert saved.trajectory.shape == (5, 4)
    assert saved.trajectory_steps == (0, 5, 10, 15, 20)
    assert cli.json("run", "small.toml", *only, "--keep", "trajectory")["trials"]["trained"] == 0
    small.write_text('keep = "weights"\n' + small.read_text(), encoding="utf-8")
    assert cli.json("run", "small.toml", *only)["trials"]["trained"] == 0
    cli("results", "verify")


def test_mistakes_are_one_line_each(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml", "--only", "workload=bowl", "--only", "optimizer=adam")
    with_weights, without = (probed(cli, "bowl", seed).document.hash for seed in (0, 1))
    for words, message in (
        ([without, "line"], "was saved without initial and final weights: run its benchmark again with --keep weights"),
        ([with_weights, "surface"], "without trajectory weights: run its benchmark again with --keep trajectory"),
        ([with_weights, "lien"], "no probe 'lien'; did you mean 'line'?"),
        ([with_weights, "line", "--set", "pionts=3"], "--set: no setting 'pionts'; did you mean 'points'?"),
        ([with_weights, "line", "--set", "points=1"], "points = 1 is outside its allowed range [2, inf)"),
        ([with_weights, "line", "--set", "points"], "--set: 'points' is not key=value"),
        ([with_weights, "surface", "--set", "resolution=4"], "--set: resolution = 4 is even"),
        (["nothing", "line"], "has a hash that begins with 'nothing'"),
        ([with_weights, "gradient-flow", "--other", with_weights], "measures a single trial"),
    ):
        error = cli("probe", *words, code=2).stderr
        assert message in error
        assert error.count("\n") == 1


def test_a_probe_that_fails_on_saved_weights_says_why_and_leaves_the_rest(cli: CommandLine, small: Path) -> None:
    (cli.folder / "slow.py").write_text(MEASURED_AGAIN, encoding="utf-8")
    cli("run", "small.toml", "--only", "workload=bowl", "--only", "optimizer=adam")
    before = probed(cli, "bowl").document
    words = ["probe", before.hash, "slow", "--set", "fault=raise", "--plugin", "slow.py"]
    assert "failed: ValueError: there is nothing to measure" in cli(*words, code=1).stderr
    after = probed(cli, "bowl").document
    assert {probe.status for key, probe in after.probes.items() if key.startswith("slow")} == {"failed"}
    assert {key: after.probes[key] for key in before.probes} == before.probes
    cli("results", "verify")


def test_a_failure_takes_the_place_of_no_measurement(cli: CommandLine, small: Path) -> None:
    (cli.folder / "slow.py").write_text(MEASURED_AGAIN, encoding="utf-8")
    cli("run", "small.toml", "--only", "workload=bowl", "--only", "optimizer=adam")
    words = ["probe", probed(cli, "bowl").document.hash, "slow", "--plugin", "slow.py"]
    key = cli.json(*words)["key"]
    before = probed(cli, "bowl").document
    broken = results(cli).path.parent / "broken"
    broken.write_text("", encoding="utf-8")
    assert "there is nothing to measure" in cli(*words, "--fresh", code=1).stderr
    broken.unlink()
    assert probed(cli, "bowl").document == before
    assert cli.json(*words)["measured_before"]
    # a table that was cut off is no measurement
    table = probed(cli, "bowl").path / "probes" / f"{key}.parquet"
    table.write_bytes(table.read_bytes()[:-10])
    again = cli.json(*words)
    assert (again["measured_before"], again["status"]) == (False, "done")
    cli("results", "verify")


def test_a_trial_that_cannot_be_read_is_named_with_the_reason(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml", "--only", "workload=bowl", "--only", "optimizer=adam", "--only", "seed=0")
    trial = probed(cli, "bowl")
    (trial.path / "weights" / "initial.safetensors").unlink()
    error = cli("probe", trial.document.hash, "line", code=2).stderr
    assert "cannot be read: weights/initial.safetensors is missing" in error


def test_an_interrupted_measurement_goes_on_where_it_was(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "slow.py").write_text(MEASURED_AGAIN, encoding="utf-8")
    cli("run", "small.toml", "--only", "workload=bowl", "--only", "optimizer=adam")
    trial = probed(cli, "bowl")
    words = ["probe", trial.document.hash, "slow", "--set", "fault=crawl", "--plugin", "slow.py"]
    process = cli.start(*words)
    partial = results(cli).path / ".partial"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (partial / "once").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    first = [int(done) for done in (partial / "log").read_text().split()]
    (partial / "log").unlink()
    assert cli.json(*words)["status"] == "done"
    second = [int(done) for done in (partial / "log").read_text().split()]
    assert first[-1] <= second[0] < 300
    assert second[-1] == 300
    cli("results", "verify")


READS_A_FILE = """
import pandas
import thalweg
from thalweg import Column, Option, Probe
from thalweg.contracts.option import NO_FILE


class Reader(Probe):
    name = "reader"
    summary = "what a file says"
    options = (Option("file", NO_FILE),)
    columns = (Column("text"),)

    def measure(self, context):
        return pandas.DataFrame({"text": [open(context.options["file"]).read()]})

    def chart(self, table):
        import altair
        return altair.Chart(table, title="reader").mark_text()


@thalweg.hookimpl
def thalweg_register_probes(register):
    register(Reader)
"""


def test_a_probes_file_counts_by_its_content(cli: CommandLine, small: Path) -> None:
    (cli.folder / "reader.py").write_text(READS_A_FILE, encoding="utf-8")
    (cli.folder / "words.txt").write_text("one", encoding="utf-8")
    text = small.read_text(encoding="utf-8").split("[probes.line]")[0]
    small.write_text(f'{text}[probes.reader]\nfile = "words.txt"\nseeds = [0]\n', encoding="utf-8")
    only = ["--only", "workload=bowl", "--only", "optimizer=adam", "--plugin", "reader.py"]
    cli("run", "small.toml", *only)
    hash_ = probed(cli, "bowl").document.hash
    words = ["probe", hash_, "reader", "--set", "file=words.txt", "--plugin", "reader.py"]
    # the same file by another way is the same measurement
    first = cli.json(*words)
    assert first["measured_before"]
    (cli.folder / "words.txt").write_text("two", encoding="utf-8")
    second = cli.json(*words)
    assert (second["measured_before"], second["status"]) == (False, "done")
    assert second["key"] != first["key"]
    error = cli("probe", hash_, "reader", "--set", "file=gone.txt", "--plugin", "reader.py", code=2).stderr
    assert "gone.txt: cannot be read: No such file" in error


def test_weights_that_cannot_be_read_are_named_and_a_run_trains_again(cli: CommandLine, small: Path) -> None:
    only = ["--only", "workload=bowl", "--only", "optimizer=adam", "--only", "seed=0"]
    cli("run", "small.toml", *only)
    trial = probed(cli, "bowl")
    (trial.path / "weights" / "final.safetensors").write_bytes(b"cut off")
    error = cli("probe", trial.document.hash, "line", "--set", "points=9", code=2).stderr
    assert "final.safetensors cannot be read" in error
    assert error.count("\n") == 1
    small.write_text(small.read_text().replace("points = 5", "points = 6"), encoding="utf-8")
    assert cli.json("run", "small.toml", *only)["trials"]["trained"] == 1
    cli("results", "verify")
