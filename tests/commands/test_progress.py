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
from thalweg.outcome import TrialResult
from thalweg.runner.cost import TimeLeft


def planned(hash_: str, workload: str, optimizer: str) -> Any:
    return SimpleNamespace(trial=SimpleNamespace(hash=hash_), workload=workload, optimizer=optimizer)


def test_what_is_left_is_cost_at_the_rate_so_far() -> None:
    a, b, c, d = (planned(name, "w", name) for name in "abcd")
    left = TimeLeft([a, b, c, d], {("w", "a"): 10.0, ("w", "b"): 30.0, ("w", ""): 20.0})
    assert left.told(5.0) == ""  # nothing is known
    # ten seconds of imports come before the first steps, and count for nothing
    left.step([a], 0, 10, 10.0)
    assert left.told(12.0) == ""
    left.step([a], 5, 10, 15.0)
    # a takes 10 s as usual, so b takes 30; c and d are guesses by their workload
    assert left.told(15.0) == "about 55 s left"
    left.end(a, 20.0)
    left.step([b], 0, 10, 20.0)
    left.step([b], 5, 10, 25.0)
    # b turns out to be as quick as a
    left.end(b, 30.0)
    assert left.told(30.0) == "perhaps 20 s left"
    left.end(c, 40.0)
    left.end(d, 50.0)
    assert left.told(50.0) == ""


def test_all_members_of_a_group_count() -> None:
    group = [planned(f"m{number}", "w", "a") for number in range(16)]
    left = TimeLeft([*group, *(planned(f"n{number}", "w", "a") for number in range(16))], {})
    left.step(group, 0, 100, 3.0)
    left.step(group, 50, 100, 8.0)
    # half of one of two groups took 5 s
    assert left.told(8.0) == "about 15 s left"


def test_a_trial_that_goes_on_from_its_checkpoint_counts_from_there() -> None:
    left = TimeLeft([planned("a", "w", "a")], {})
    left.step([planned("a", "w", "a")], 80, 100, 0.0)
    left.step([planned("a", "w", "a")], 90, 100, 10.0)
    assert left.told(10.0) == "about 10 s left"
    left.step([planned("a", "w", "a")], 100, 100, 20.0)
    assert left.told(20.0) == ""  # only evaluations are left


def test_trials_without_steps_are_alike() -> None:
    left = TimeLeft([planned("a", "w", "a"), planned("b", "w", "b"), planned("c", "w", "c")], {})
    left.end(planned("a", "w", "a"), 1.0)
    left.end(planned("b", "w", "b"), 4.0)
    assert left.told(4.0) == "perhaps 2 s left"


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
    assert re.search(r"trials \S* +2/3 1 done, 1 failed, 1 done before (about|perhaps) \d+ s left", frames), frames[
        -3000:
    ]
    assert "bowl · faulty:fault=device · seed 0: failed: OutOfMemoryError" in frames


def test_of_many_trials_that_fail_for_one_reason_few_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    progress = thalweg.commands.progress.PlainProgress()
    progress.begin(0, [], {})
    trials = [planned(f"{number:02}", "w", "a") for number in range(20)]
    for number, one in enumerate(trials):
        one.title = f"trial {number}"
        reason = "KeyError: 'lr'" if number != 7 else "its worker died"
        progress.end(one, TrialResult("failed", reason))
    progress.close()
    progress.close()
    lines = capsys.readouterr().err.splitlines()[1:]
    assert lines == [
        *(f"trial {number}: failed: KeyError: 'lr'" for number in (0, 1, 2)),
        "trial 7: failed: its worker died",
        "16 more trials: failed: KeyError: 'lr'",
    ]
