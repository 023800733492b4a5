"""Helpers that many tests share."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import thalweg.app
from copied import Copy, can_be_copied
from thalweg.cli import main
from thalweg.store.writing import ResultsFolder

APP_SCRIPT = str(Path(thalweg.app.__file__).parent / "server" / "script.py")
"""The script that Streamlit runs, for AppTest."""


class CommandLine:
    """Runs ``thalweg`` in a separate folder: in this process, which is fast, or in a new process."""

    def __init__(self, folder: Path, own_process: bool) -> None:
        self.folder = folder
        self.own_process = own_process
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")}

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a new process, and return it while it runs."""
        # a child of a test run in the background would ignore SIGINT
        program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        program += "from thalweg.cli import main; main()"
        if not options and can_be_copied(self.environment):
            return Copy(words, self.folder, self.environment, program)
        command = [sys.executable, "-c", program, *words]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # fmt: skip

    def __call__(self, *words: str, code: int | None = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end and check the exit code."""
        if self.own_process or options:
            process = self.start(*words, **options)
            out, err = process.communicate(timeout=120)
            returned = process.returncode
        else:
            out, err, returned = self._here(*words)
        assert code in (None, returned), f"exit code {returned}, expected {code}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, returned, out, err)

    def anyhow(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run to the end in this process, with any exit code."""
        out, err, returned = self._here(*words)
        return subprocess.CompletedProcess(words, returned, out, err)

    def _here(self, *words: str) -> tuple[str, str, int]:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", ["thalweg", *words]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                return out.getvalue(), err.getvalue(), int(end.code or 0)
        raise AssertionError("the command line did not exit")

    def json(self, *words: str, code: int = 0, **options: Any) -> Any:
        """Run with --json, and return the document, which must be all of standard output."""
        document = json.loads(self(*words, "--json", code=code, **options).stdout)
        assert document["schema"] == 1
        return document


SMALL = """
seeds = 2

[workloads.small]
problem = "digits"
architecture = { name = "mlp", widths = [8], norm = "batch" }
budget = { epochs = 2 }
batch_size = 128
validation_fraction = 0.2
target = { metric = "accuracy", value = 0.5 }

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
dtype = "float64"
budget = { steps = 20 }
evaluate_every = { steps = 5 }
target = { metric = "loss", value = 1.0 }

[optimizers.sgd]
lr = 0.01

[optimizers.adam]

[probes.line]
points = 5
seeds = [0]

[probes.surface]
resolution = 3
seeds = [0]
workloads = ["small"]

[probes.gradient-flow]
seeds = [0]
"""


TINY = """
seeds = 1

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
budget = { steps = 20 }
evaluate_every = { steps = 5 }

[optimizers.adam]

[optimizers.sgd]
lr = 0.01
"""

SCALED_SGD = """
import torch, thalweg

class Mine(torch.optim.SGD):
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr=lr * FACTOR)

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Mine)
"""
"""A plugin file with an optimizer ``mine``: SGD whose rate is multiplied by FACTOR."""


FAULTY = """
import os
import thalweg
from thalweg_plugins.optimizers.first_order.sgd import SGD


class Faulty(SGD):
    name = "faulty"
    faults = ("raise", "exit", "exit-0", "slow", "crawl", "hang", "once", "none")
    options = (*SGD.options, thalweg.Option("fault", "raise", faults))

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
            if fault == "exit-0":
                os._exit(0)
            if fault == "hang":
                import ctypes
                ctypes.PyDLL(None).sleep(600)  # in C, and Python's lock is held
            if fault == "once":
                from pathlib import Path
                if not Path("died").exists():
                    Path("died").touch()
                    os.kill(os.getpid(), 9)
            if fault in ("slow", "crawl"):
                time.sleep(0.05 if fault == "slow" else 1.0)
            return step(objective)

        stepper.step = broken
        return stepper


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Faulty)
"""


def results(cli: CommandLine, benchmark: str = "small") -> ResultsFolder:
    return ResultsFolder(cli.folder / "results" / "local", benchmark)


def statuses(cli: CommandLine) -> dict[str, int]:
    trials = cli.json("results", "list")["trials"]
    found: dict[str, int] = {}
    for trial in trials:
        found[trial["status"]] = found.get(trial["status"], 0) + 1
    return found


def leftovers(cli: CommandLine, benchmark: str = "small") -> list[Path]:
    return [path for path in results(cli, benchmark).working.iterdir() if path.suffix != ".lock"]
