"""``thalweg plugin check`` and ``pytest --thalweg-plugin``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support import CommandLine
from thalweg.testing.kit import CHECKS

SIGNSGD = """
import torch, thalweg

class SignSGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.001):
        super().__init__(params, {"lr": lr})
        self.k = 0
    @torch.no_grad()
    def step(self, closure=None):
        BEFORE
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * p.grad.sign())

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(SignSGD)
"""

STRANGE = """
        print("noise from a step", "\\\\x1b[2J")
        double = self.param_groups[0]["params"][0].dtype == torch.float64
        if double and len(self.param_groups[0]["params"]) == 6:
            import os; os._exit(7)
        if any(p.dim() == 4 for p in self.param_groups[0]["params"]):
            import time; time.sleep(1000)
        self.k += 1
        if self.k > 60:
            import ctypes; ctypes.string_at(0)
""".strip()
"""Ends its process in float64, hangs on images, and is killed by the system in long trainings."""


def write(folder: Path, before: str = "pass", name: str = "signsgd.py") -> str:
    (folder / name).write_text(SIGNSGD.replace("BEFORE", before), encoding="utf-8")
    return name


def by_check(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in document["checks"]}


def test_a_sound_plugin_passes(process_cli: CommandLine) -> None:
    cli = process_cli
    document = cli.json("plugin", "check", write(cli.folder))
    assert document["plugin"] == {"name": "signsgd", "version": "file", "origin": "file"}
    assert document["counts"] == {"passed": 19, "failed": 0, "skipped": 2}
    assert by_check(document).keys() == {one.name for one in CHECKS["optimizers"]}
    assert by_check(document)["stacks"]["found"] == "it does not declare elementwise = True"


def test_a_check_that_ends_its_process_costs_that_check_only(process_cli: CommandLine) -> None:
    words = ["plugin", "check", write(process_cli.folder, STRANGE)]
    asked = (
        "contract",
        "keeps_its_state_in_the_precision_of_the_weights",
        "continues_from_its_state",
        "keeps_no_graph",
    )
    words += [word for name in asked for word in ("--only", name)]
    document = process_cli.json(*words, code=1)
    found = by_check(document)
    assert document["counts"] == {"passed": 2, "failed": 0, "skipped": 0, "died": 2}
    assert found["keeps_its_state_in_the_precision_of_the_weights"]["found"] == "its process ended with exit code 7"
    assert found["continues_from_its_state"]["found"] == "its process ended by SIGSEGV"
    assert "Fatal Python error: Segmentation fault" in found["continues_from_its_state"]["output"]
    assert found["keeps_no_graph"]["status"] == "passed"
    assert "noise from a step" in found["keeps_no_graph"]["output"]


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [
        ("import os; os._exit(0)", "died", "its process ended with exit code 0"),
        ("import sys; sys.exit(0)", "failed", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "failed", "KeyboardInterrupt"),
    ],
)
def test_a_plugin_that_ends_the_process_in_silence_is_no_success(
    process_cli: CommandLine, body: str, status: str, found: str
) -> None:
    words = [
        "plugin",
        "check",
        write(process_cli.folder, body),
        "--only",
        "moves_every_parameter",
        "--only",
        "contract",
    ]
    document = process_cli.json(*words, code=1)
    row = by_check(document)["moves_every_parameter"]
    assert (row["status"], row["seconds"] < 60) == (status, True)
    assert row["found"].startswith(found)
    assert row["means"].startswith("whether the component meets the check is not known")
    assert by_check(document)["contract"]["status"] == "passed"


def test_a_check_that_hangs_is_ended(process_cli: CommandLine) -> None:
    words = ["plugin", "check", write(process_cli.folder, STRANGE), "--only", "takes_weights_of_any_shape"]
    (row,) = process_cli.json(*words, "--timeout", "5", code=1)["checks"]
    assert (row["status"], row["found"]) == ("timed out", "it took longer than 5 s")


def test_a_failing_check_says_what_it_means_and_output_of_the_plugin_does_not_mix_in(process_cli: CommandLine) -> None:
    cli = process_cli
    file = write(cli.folder, 'print("noise", "\\x1b[2J"); self.k += 1; self.param_groups[0]["lr"] = 0.1 / self.k')
    done = cli("plugin", "check", file, "--only", "continues_from_its_state", code=1)
    text = " ".join(done.stdout.split())
    assert "checks of plugin signsgd, each in at most 120 s" in text
    assert "expected 80 steps after an interruption at step 5 to equal uninterrupted steps found: they part" in text
    assert "this means: a trial that is interrupted and continued has other numbers than an uninterrupted one" in text
    assert "read: docs/checks.md#optimizers" in text
    assert text.endswith("0 passed, 1 failed, 0 skipped")
    assert "noise" not in done.stdout + done.stderr


def test_mistakes_name_the_nearest_choice(cli: CommandLine) -> None:
    file = write(cli.folder)
    (cli.folder / "broken.py").write_text("import thalweg\nraise ImportError('no such thing')", encoding="utf-8")
    (cli.folder / "hooks.py").write_text(
        "import thalweg\n@thalweg.hookimpl\ndef thalweg_run_finished(run): pass", encoding="utf-8"
    )
    (cli.folder / "folder").mkdir()
    for words, code, says in (
        (["nowhere.py"], 2, "nowhere.py: there is no such file"),
        (["folder"], 2, "folder is a folder: give a plugin file"),
        (["thalweg_plugins.probe"], 2, "did you mean 'thalweg_plugins.probes'?"),
        (["sgd"], 2, "'sgd' is a component of the plugin 'thalweg_plugins.optimizers'"),
        (["broken.py"], 2, "plugin 'broken' failed to load: ImportError: no such thing"),
        (["hooks.py"], 3, "plugin 'hooks' has registered no component"),
        ([file, "--only", "stack"], 2, "--only: no check 'stack'; did you mean 'stacks'?"),
        ([file, "--timeout", "0"], 2, "--timeout 0: give a number of seconds above zero"),
        ([file, "-j", "0"], 2, "--jobs 0: give a whole number from 1 up"),
    ):
        assert says in cli("plugin", "check", *words, code=code).stderr


def test_an_executor_with_processes_of_its_own_is_checked(process_cli: CommandLine) -> None:
    document = process_cli.json("plugin", "check", "thalweg.runner.processes", "--only", "does_each_job_once")
    assert document["counts"]["passed"] == 1, document


PLUGIN = "thalweg_plugins.pytest_plugin"


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_pytest_collects_the_checks_of_a_plugin(
    workers: tuple[str, ...], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    write(pytester.path, 'self.k += 1; self.param_groups[0]["lr"] = 0.1 / self.k')
    here = ["-p", PLUGIN] if not _is_installed() else []
    words = ["-p", "no:cacheprovider", *here, "--thalweg-plugin", "signsgd.py", "-v", *workers]
    done = pytester.run(sys.executable, "-m", "pytest", *words, "-k", "continues or contract or stacks or schedule")
    done.assert_outcomes(passed=1, failed=2, skipped=1, deselected=0 if workers else 17)
    text = done.stdout.str()
    assert "optimizer-signsgd-continues_from_its_state" in text
    assert "This means: a trial that is interrupted and continued has other numbers" in text
    assert "Traceback" not in text
    done = pytester.run(sys.executable, "-m", "pytest", *here, "--thalweg-plugin", "signsdg")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "--thalweg-plugin signsdg: no plugin 'signsdg'" in done.stderr.str()


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(point.value == PLUGIN for point in entry_points(group="pytest11"))


def test_the_document_is_one_json_document(process_cli: CommandLine) -> None:
    file = write(process_cli.folder, "print('noise')")
    done = process_cli("plugin", "check", file, "--only", "contract", "--json")
    assert json.loads(done.stdout)["checks"][0]["status"] == "passed"
