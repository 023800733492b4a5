"""The display of a run's progress."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import thalweg.commands.progress
from faults import tiny
from support import CommandLine
from thalweg.runner.cost import TimeLeft


def planned(hash_: str, workload: str, optimizer: str) -> Any:
    return SimpleNamespace(trial=SimpleNamespace(hash=hash_), workload=workload, optimizer=optimizer)


def test_what_is_left_is_cost_at_the_rate_so_far() -> None:
    a, b, c, d = (planned(name, "w", name) for name in "abcd")
    left = TimeLeft([a, b, c, d], {("w", "a"): 10.0, ("w", "b"): 30.0, ("w", ""): 20.0})
    assert left.seconds(5.0) is None
    left.end(a)
    left.step(b, 5, 15)
    # 20 of 80 seconds of cost took 4 seconds: several train at once
    assert left.seconds(4.0) == pytest.approx(12.0)
    left.end(b)
    left.end(c)
    left.end(d)
    assert left.seconds(16.0) == 0
    # without any measurement all trials are alike
    left = TimeLeft([a, b], {})
    left.end(a)
    assert left.seconds(3.0) == 3.0


def test_a_terminal_shows_each_trial_in_hand_how_others_ended_and_the_time_left(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli(*tiny(cli), "--only", "optimizer=sgd")
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=150, color_system=None)
    for name in ("errors", "terminal"):
        monkeypatch.setattr(thalweg.commands.progress, name, lambda: terminal)
    cli(*tiny(cli, "device", "slow"), code=1)
    frames = shown.getvalue()
    assert re.search(r"bowl · faulty:fault=slow · seed 0 \S* +\d+/20 steps", frames), frames[-3000:]
    assert re.search(r"trials \S* +2/3 1 done, 1 failed, 1 done before about \d+ s left", frames), frames[-3000:]
    assert "bowl · faulty:fault=device · seed 0: failed: OutOfMemoryError" in frames
