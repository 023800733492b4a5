"""Plugins that raise, exit, meddle or never end: each costs at most its own trial."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from support import FAULTY, CommandLine, results, statuses
from thalweg.store.results import BenchmarkResults


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
    # a probe that may look at the optimizer makes its trials train alone
    cli("run", "small.toml", "--only", "optimizer=sgd", "--results", "without", "--no-batching")
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
