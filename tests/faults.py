"""A plugin with faults, and a benchmark for the plugin."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

from support import TINY, CommandLine, results

FAULTS = """
import ctypes, sys, time
import thalweg
from thalweg_plugins.optimizers.first_order.sgd import SGD

kept = []


class Faulty(SGD):
    name = "faulty"
    faults = ("leak", "memory-error", "device", "loud", "hang", "stuck", "slow", "deaf", "wraps", "none")
    options = (*SGD.options, thalweg.Option("fault", "none", faults))

    def build(self, module, hyperparameters, context):
        h = dict(hyperparameters) | {"lr": 0.01}
        fault = h.pop("fault")
        stepper = super().build(module, h, context)
        step = stepper.step

        def broken(objective):
            nonlocal fault
            if fault == "leak":
                while True:
                    kept.append(b"x" * 20_000_000)
                    time.sleep(0.01)
            if fault == "memory-error":
                bytearray(10**15)
            if fault == "device":
                import torch
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            if fault == "loud":
                fault = "none"
                system = ctypes.CDLL(None)
                system.puts(b"from C")
                system.fflush(None)
                for _ in range(50):
                    print("loud " * 200_000)
                    print("loud " * 200_000, file=sys.stderr)
            if fault in ("hang", "stuck"):
                # waits in C for ever, with Python's lock held or free
                mutex = ctypes.create_string_buffer(64)
                system = (ctypes.PyDLL if fault == "hang" else ctypes.CDLL)(None)
                system.pthread_mutex_lock(mutex)
                system.pthread_mutex_lock(mutex)
            if fault == "slow":
                time.sleep(0.1)
            if fault in ("deaf", "wraps"):
                # what code that catches everything makes of a Ctrl-C
                try:
                    time.sleep(60)
                except KeyboardInterrupt:
                    if fault == "wraps":
                        raise RuntimeError("could not sleep") from None
                    fault = "none"
            return step(objective)

        stepper.step = broken
        return stepper


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Faulty)
"""


def tiny(cli: CommandLine, *faults: str) -> list[str]:
    """The arguments of a run of two sound trials and one trial for each fault."""
    (cli.folder / "faulty.py").write_text(FAULTS, encoding="utf-8")
    (cli.folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    words = ["run", "tiny.toml", "--plugin", "faulty.py"]
    for fault in faults:
        words += ["--with", f"optimizer=faulty:fault={fault}"]
    return words


def messages(report: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """The message of each failure, by its fault."""
    return {row["trial"].split("fault=")[1].split(" ")[0]: row["message"] for row in report["failures"]}


def wait_for_the_faulty(cli: CommandLine, process: subprocess.Popen[str], fault: str = "") -> None:
    """Wait until the sound trials are done and the faulty trial trains."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        there = results(cli, "tiny")
        if len(list(there.trials.glob("*"))) >= 2:
            for started in there.working.glob("*/started.json"):
                with contextlib.suppress(FileNotFoundError):
                    if f'"optimizer": "faulty:fault={fault}' in started.read_text(encoding="utf-8"):
                        time.sleep(0.5)
                        return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("the trial never began")


def all_gone(group: int, seconds: float = 3.0) -> bool:
    """Whether all processes of a group end within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
