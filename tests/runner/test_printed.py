"""What foreign code prints is kept in its trial's folder, and reaches neither the terminal nor a JSON document."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from support import CommandLine
from thalweg.printed import LARGEST, LOG, aside, kept

LOUD = """
import ctypes, logging, sys, warnings, torch, thalweg

handler = logging.StreamHandler()
logging.getLogger("loud").addHandler(handler)

class Loud(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, fails=False):
        super().__init__(params, {"lr": lr})
        self.fails, self.steps = fails, 0
        print("printed when built")
    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        if self.steps == 5:
            print("printed in a step", file=sys.stderr)
            logging.getLogger("loud").warning("logged by its own handler")
            ctypes.CDLL(None).puts(b"printed by C")
            if self.fails:
                raise ValueError("loud fails")
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad, alpha=group["lr"])

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Loud, elementwise=ELEMENTWISE)

@thalweg.hookimpl
def thalweg_evaluation_finished(trial, step, metrics):
    print("a hook after", step)
"""
SAID = ["printed when built", "printed in a step", "logged by its own handler", "printed by C"]

FILE = """
summary = "a class that prints"
seeds = 2
[workloads.bowl]
problem = {name = "quadratic", dim = 4}
architecture = "point"
budget = {steps = 20}
evaluate_every = {steps = 10}
[optimizers.loud]
lr = 0.001
"""


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("workers", [[], ["-j", "2"]])
def test_output_is_kept_with_the_trial(process_cli: CommandLine, elementwise: bool, workers: list[str]) -> None:
    folder = process_cli.folder
    (folder / "loud.toml").write_text(FILE, encoding="utf-8")
    (folder / "loud.py").write_text(LOUD.replace("ELEMENTWISE", str(elementwise)), encoding="utf-8")
    done = process_cli("run", "loud.toml", "--plugin", "loud.py", "--json", *workers)
    report = json.loads(done.stdout)
    assert report["trials"]["failed"] == 0
    assert "a hook after 20" in done.stderr
    for line in SAID:
        assert line not in done.stderr
    trials = [path.parent for path in folder.rglob("trial.json")]
    assert len(trials) == 2
    for trial in trials:
        text = (trial / LOG).read_bytes()
        assert all(line in text.decode() for line in SAID)
        assert "a hook" not in text.decode()
        document = json.loads((trial / "trial.json").read_text(encoding="utf-8"))
        assert document["files"][LOG] == hashlib.sha256(text).hexdigest()
    assert process_cli.json("results", "verify")["faults"] == []


def test_a_failure_names_the_file(cli: CommandLine) -> None:
    (cli.folder / "loud.toml").write_text(FILE + "fails = true\n", encoding="utf-8")
    (cli.folder / "loud.py").write_text(LOUD.replace("ELEMENTWISE", "False"), encoding="utf-8")
    report = cli.json("run", "loud.toml", "--plugin", "loud.py", code=1)
    logs = [Path(failure["log"]) for failure in report["failures"]]
    assert len(logs) == 2
    assert all("printed in a step" in path.read_text(encoding="utf-8") for path in logs)


def test_a_trial_that_prints_nothing_has_no_file(cli: CommandLine, small: Path) -> None:
    cli.json("run", "small.toml")
    assert not list((cli.folder / "results").rglob(LOG))


def test_as_much_is_kept_as_the_limit_says(tmp_path: Path) -> None:
    path = tmp_path / LOG
    with kept(path):
        for _ in range(3):
            sys.stdout.write("x" * LARGEST)
            os.write(1, b"y" * LARGEST)
    text = path.read_bytes()
    assert len(text) < LARGEST + 100
    assert text.endswith(b"more was printed, and is not kept\n")


def test_streams_are_put_back_whatever_happens(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    streams = sys.stdout, sys.stderr

    def fails() -> None:
        sys.stdout.write("kept")
        with aside():
            sys.stdout.write("aside")
        raise ValueError("within")

    with pytest.raises(ValueError, match="within"), kept(tmp_path / LOG):
        fails()
    assert (sys.stdout, sys.stderr) == streams
    assert capfd.readouterr().out == "aside"
    assert (tmp_path / LOG).read_text(encoding="utf-8") == "kept"
