"""Runs as a user sees them: caching, kills, failures, interruptions, two runners at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from support import CommandLine
from thalweg.store.results import BenchmarkResults
from thalweg.store.tables import read_table

FAULTY = """
import os
import thalweg
from thalweg_plugins.optimizers.sgd import SGD


class Faulty(SGD):
    name = "faulty"
    options = (*SGD.options, thalweg.Option("fault", "raise", ("raise", "exit", "slow", "none")))

    def build(self, module, hyperparameters, context):
        h = dict(hyperparameters)
        fault = h.pop("fault")
        stepper = super().build(module, h, context)
        step = stepper.step

        def broken(objective):
            import time
            if fault == "raise":
                raise RuntimeError("the optimizer is broken")
            if fault == "exit":
                os._exit(7)
            if fault == "slow":
                time.sleep(0.05)
            return step(objective)

        stepper.step = broken
        return stepper


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Faulty)
"""


def results(cli: CommandLine, benchmark: str = "small") -> BenchmarkResults:
    return BenchmarkResults(cli.folder / "results" / "local", benchmark)


def statuses(cli: CommandLine) -> dict[str, int]:
    trials = cli.json("results", "list")["trials"]
    found: dict[str, int] = {}
    for trial in trials:
        found[trial["status"]] = found.get(trial["status"], 0) + 1
    return found


def leftovers(cli: CommandLine) -> list[Path]:
    return [path for path in results(cli).working.iterdir() if path.suffix != ".lock"]


def test_a_second_run_trains_nothing_and_imports_no_torch(cli: CommandLine, small: Path) -> None:
    first = cli.json("run", "small.toml")
    assert first["trials"] == {"total": 8, "trained": 8, "cached": 0, "diverged": 0, "failed": 0}
    files = {path: path.stat().st_mtime_ns for path in results(cli).trials.rglob("*.parquet")}
    second = cli.json("run", "small.toml")
    assert second["trials"] == {"total": 8, "trained": 0, "cached": 8, "diverged": 0, "failed": 0}
    assert {path: path.stat().st_mtime_ns for path in results(cli).trials.rglob("*.parquet")} == files

    code = "import sys; sys.argv[1:] = ['run', 'small.toml', '--json']\nfrom thalweg.cli import app\n"
    code += "app(standalone_mode=False)\nassert 'torch' not in sys.modules, 'torch was imported'"
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
    assert (report["trials"]["trained"], report["trials"]["cached"]) == (4, 4)
    for trial in results(cli).scan()[0]:
        names = [key.split("--")[0] for key in trial.document.probes]
        assert names.count("line") == (2 if trial.document.trial.seed == 0 else 0)
        pd.testing.assert_frame_equal(
            curves[trial.document.hash].drop(columns="seconds"), trial.curve().drop(columns="seconds")
        )
    assert cli.json("run", "small.toml")["trials"]["trained"] == 0


def test_a_killed_run_resumes_without_retraining(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = [
        "run",
        "small.toml",
        "--plugin",
        "faulty.py",
        "--with",
        "optimizer=faulty:fault=slow",
        "--only",
        "workload=small",
    ]
    process = cli.start(*words)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        finished = len(list(results(cli).trials.glob("*"))) if results(cli).trials.is_dir() else 0
        training = list(results(cli).working.glob("*/started.json")) if results(cli).working.is_dir() else []
        if finished >= 4 and training and '"optimizer": "faulty' in training[0].read_text():
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished_before = {path.name: (path / "trial.json").stat().st_mtime_ns for path in results(cli).trials.iterdir()}
    assert len(finished_before) == 4
    # the trial in hand shows as what it was
    listed = cli.json("results", "list")["trials"]
    (failed,) = [trial for trial in listed if trial["status"] == "failed"]
    assert failed["optimizer"] == "faulty:fault=slow"
    assert "ended in mid-trial" in failed["reason"]
    cli("results", "verify")
    report = cli.json(*words)
    assert (report["trials"]["trained"], report["trials"]["cached"], report["trials"]["failed"]) == (2, 4, 0)
    after = {path.name: (path / "trial.json").stat().st_mtime_ns for path in results(cli).trials.iterdir()}
    assert {name: after[name] for name in finished_before} == finished_before
    assert leftovers(cli) == []
    assert statuses(cli) == {"done": 6}
    cli("results", "verify")


def test_a_process_that_exits_in_mid_trial_shows_as_failed(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty:fault=exit"]
    cli(*words, "--only", "optimizer=faulty:fault=exit", code=7)
    (trial,) = cli.json("results", "list")["trials"]
    assert trial["status"] == "failed"


def test_a_trial_that_raises_is_failed_with_its_reason_and_the_rest_goes_on(cli: CommandLine, small: Path) -> None:
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty"]
    report = cli.json(*words, code=1)
    assert report["trials"] == {"total": 12, "trained": 12, "cached": 0, "diverged": 0, "failed": 4}
    assert report["failures"][0]["kind"] == "RuntimeError"
    assert report["failures"][0]["message"] == "the optimizer is broken"
    assert "faulty" in report["failures"][0]["trial"]
    assert statuses(cli) == {"done": 8, "failed": 4}
    # failed ones are run again, and keep the exit code at 1
    again = cli.json(*words, code=1)
    assert (again["trials"]["trained"], again["trials"]["cached"]) == (4, 8)
    rows = cli.json("leaderboard", "small.toml", "--with", "optimizer=sgd:lr=0.5")["rows"]
    assert len(rows) == 4


def test_a_plugin_that_calls_sys_exit_ends_its_trial_and_not_the_run(cli: CommandLine, small: Path) -> None:
    source = FAULTY.replace('raise RuntimeError("the optimizer is broken")', "raise SystemExit(0)")
    (cli.folder / "faulty.py").write_text(source, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty", "--only", "workload=bowl"]
    report = cli.json(*words, code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (6, 2)
    assert report["failures"][0]["kind"] == "SystemExit"


def test_one_trial_under_two_labels_is_trained_once_with_the_probes_of_both(cli: CommandLine, small: Path) -> None:
    text = small.read_text().replace("[probes.line]", '[optimizers.same]\noptimizer = "adam"\n[probes.line]')
    text = text.replace("[probes.gradient-flow]", '[probes.gradient-flow]\noptimizers = ["same"]')
    small.write_text(text, encoding="utf-8")
    report = cli.json(
        "run", "small.toml", "--only", "workload=small", "--only", "seed=0", "--only", "optimizer=adam,same"
    )
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


def test_ctrl_c_ends_with_130_and_keeps_what_is_done(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    process = cli.start("run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty:fault=slow", "--json",
                        "--only", "workload=small")  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        training = list(results(cli).working.glob("*/started.json")) if results(cli).working.is_dir() else []
        if training and '"optimizer": "faulty' in training[0].read_text():
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["outcome"] == "interrupted"
    assert statuses(cli) == {"done": 4, "failed": 1}
    cli("results", "verify")


def test_two_runners_at_once_train_each_trial_once(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    processes = [cli.start("run", "small.toml", "--json") for _ in range(2)]
    reports = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        reports.append(json.loads(out))
    assert statuses(cli) == {"done": 8}
    assert sum(report["trials"]["trained"] for report in reports) == 8
    cli("results", "verify")


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


PROBES = """
import pandas as pd
import thalweg


class Odd(thalweg.Probe):
    name, summary = "odd", "does what it should not"
    when = ("start", "end")
    columns = (thalweg.Column("x"),)
    options = (thalweg.Option("what", "raise", ("raise", "none", "columns", "mixed", "mutate", "exit", "never")),)

    def measure(self, context):
        what = context.options["what"]
        if what == "raise":
            raise ValueError("cannot measure")
        if what == "none":
            return None
        if what == "columns":
            return pd.DataFrame({"y": [1.0]})
        if what == "mixed":
            return pd.DataFrame({"x": [1.0, "two", b"three"]})
        if what == "exit":
            raise SystemExit(0)
        context.stepper.lr = 1e9
        context.stepper.step(context.objective)
        context.problem.f = None
        for parameter in context.module.parameters():
            parameter.requires_grad_(False)
        return pd.DataFrame({"x": [1.0]})

    def chart(self, table):
        raise NotImplementedError


@thalweg.hookimpl
def thalweg_register_probes(register):
    register(Odd)
"""


def with_odd_probe(cli: CommandLine, small: Path, what: str) -> list[str]:
    (cli.folder / "odd.py").write_text(PROBES, encoding="utf-8")
    text = small.read_text(encoding="utf-8").split("[probes.line]")[0]
    small.write_text(f'{text}[probes.odd]\nwhat = "{what}"\nseeds = [0]\n', encoding="utf-8")
    return ["run", "small.toml", "--plugin", "odd.py", "--only", "optimizer=sgd"]


@pytest.mark.parametrize(
    ("what", "kind", "says"),
    [
        ("raise", "ValueError", "cannot measure"),
        ("none", "ValueError", "returned NoneType and no DataFrame"),
        ("columns", "ValueError", "declares the columns x and returned y"),
        ("mixed", "ArrowInvalid", "column x"),
        ("exit", "SystemExit", "0"),
    ],
)
def test_a_probe_that_fails_is_reported_and_measured_again(
    cli: CommandLine, small: Path, what: str, kind: str, says: str
) -> None:
    words = with_odd_probe(cli, small, what)
    report = cli.json(*words, code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (4, 0)
    assert [failure["kind"] for failure in report["failures"]] == [kind, kind]
    assert all("probe odd" in failure["trial"] and says in failure["message"] for failure in report["failures"])
    assert statuses(cli) == {"done": 4}
    assert cli.json(*words, code=1)["trials"]["trained"] == 2


def test_nothing_that_a_probe_does_reaches_training(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml", "--only", "optimizer=sgd", "--results", "without")
    cli(*with_odd_probe(cli, small, "mutate"))
    for trial in results(cli).scan()[0]:
        other = BenchmarkResults(cli.folder / "without", "small").find(trial.document.hash)
        assert other is not None
        pd.testing.assert_frame_equal(
            trial.curve().drop(columns="seconds"), other.curve().drop(columns="seconds"), check_exact=True
        )


def test_tables_of_an_edited_probe_stay_what_they_were(cli: CommandLine, small: Path) -> None:
    words = with_odd_probe(cli, small, "mutate")
    only = ["--only", "workload=bowl", "--only", "seed=0"]
    cli(*words, *only)
    edited = PROBES.replace('pd.DataFrame({"x": [1.0]})', 'pd.DataFrame({"x": [2.0]})')
    (cli.folder / "odd.py").write_text(edited, encoding="utf-8")
    assert cli.json(*words, *only)["trials"]["trained"] == 1
    ((trial,), _) = results(cli).scan()
    assert sorted(trial.table(key)["x"].tolist() for key in trial.document.probes) == [[1.0, 1.0], [2.0, 2.0]]


def test_a_probe_that_is_never_due_has_an_empty_table(cli: CommandLine, small: Path) -> None:
    text = small.read_text(encoding="utf-8").split("[probes.line]")[0].replace("epochs = 2", "steps = 3")
    small.write_text(text + "[probes.odd]\n", encoding="utf-8")
    source = PROBES.replace('("start", "end")', '("epoch",)')
    (cli.folder / "odd.py").write_text(source, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "odd.py", "--only", "workload=small", "--only", "optimizer=sgd"]
    assert cli.json(*words)["trials"]["trained"] == 2
    assert cli.json(*words)["trials"]["cached"] == 2


def test_a_failure_never_replaces_a_result(cli: CommandLine, small: Path) -> None:
    flag = cli.folder / "break"
    source = FAULTY.replace('if fault == "raise":', f"if os.path.exists({str(flag)!r}):")
    (cli.folder / "faulty.py").write_text(source, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty:lr=0.01"]
    words += ["--only", "optimizer=faulty:lr=0.01"]
    cli(*words)
    flag.touch()
    report = cli.json(*words, "--fresh", code=1)
    assert report["trials"]["failed"] == 4
    assert statuses(cli) == {"done": 4}
    cli("results", "verify")


NOISY = """
import random
import numpy as np
import torch, thalweg

class Noisy(torch.optim.Optimizer):
    def __init__(self, params, lr=0.001):
        super().__init__(params, {"lr": lr})
    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.sub_(self.param_groups[0]["lr"] * (p.grad + torch.randn_like(p) + np.random.randn() + random.random()))

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Noisy)
"""


def test_an_optimizer_that_draws_from_the_global_generators_is_deterministic(cli: CommandLine, small: Path) -> None:
    (cli.folder / "noisy.py").write_text(NOISY, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "noisy.py", "--with", "optimizer=noisy", "--only", "optimizer=noisy"]
    found = []
    for folder in ("one", "two"):
        cli(*words, "--only", "workload=bowl", "--results", folder)
        stored, _ = BenchmarkResults(cli.folder / folder, "small").scan()
        found.append([trial.curve()["value"].tolist() for trial in stored])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_a_budget_of_gradients_ends_also_when_none_is_taken(cli: CommandLine, small: Path) -> None:
    source = FAULTY.replace('raise RuntimeError("the optimizer is broken")', "return objective.loss()")
    (cli.folder / "faulty.py").write_text(source, encoding="utf-8")
    small.write_text(small.read_text().replace("{ steps = 20 }", "{ gradient_evaluations = 20 }"), encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty", "--only", "optimizer=faulty"]
    report = cli.json(*words, "--only", "workload=bowl", code=1)
    assert report["trials"]["failed"] == 2


def test_a_curve_that_was_cut_off_is_trained_again(cli: CommandLine, small: Path) -> None:
    only = ["--only", "workload=bowl", "--only", "optimizer=sgd"]
    cli("run", "small.toml", *only)
    victim = next(iter(results(cli).trials.iterdir())) / "curve.parquet"
    victim.write_bytes(victim.read_bytes()[:100])
    assert "its curve cannot be read" in cli("leaderboard", "small.toml").stderr
    assert cli.json("run", "small.toml", *only)["trials"]["trained"] == 1
    cli("results", "verify")


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX's")
def test_a_full_disk_costs_the_trial_in_hand_and_is_told(process_cli: CommandLine, small: Path) -> None:
    """A limit on the size of files makes every write past 3 kB fail, as a full disk does."""
    cli = process_cli
    import resource

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    failures = cli.json("run", "small.toml", code=1, preexec_fn=limit)["failures"]
    assert failures
    assert all("File too large" in failure["message"] for failure in failures)
    report = cli.json("run", "small.toml")
    assert report["trials"]["failed"] == 0
    assert leftovers(cli) == []
    cli("results", "verify")


def test_the_curve_on_disk_has_the_declared_columns(cli: CommandLine, small: Path) -> None:
    from thalweg.store.curve import CURVE_COLUMNS

    cli("run", "small.toml", "--only", "optimizer=sgd")
    for trial in results(cli).scan()[0]:
        table = read_table(trial.path / "curve.parquet")
        assert list(table.columns) == list(CURVE_COLUMNS)
        assert (table.loc[table["step"] > 0, "seconds"] > 0).all()
