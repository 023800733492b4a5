"""Progress of a run on standard error: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from thalweg.benchmark import PlannedTrial
from thalweg.commands.output import errors
from thalweg.runner.outcome import TrialResult

_SECONDS_BETWEEN_LINES = 5.0
_TRIALS_BEFORE_ESTIMATE = 3


class LiveProgress:
    """A bar of trials with the time left, and one of steps for each trial in hand."""

    def __init__(self) -> None:
        self.console = errors()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.total = 0
        self.task = self.bars.add_task("trials", unit="trials", total=None)
        self.running: dict[str, TaskID] = {}

    def begin(self, total: int, cached: int) -> None:
        """Show the display, unless there is nothing to train."""
        if total == cached:
            return
        self.total = total - cached
        self.bars.update(self.task, total=self.total)
        self.bars.start()

    def step(self, planned: PlannedTrial, done: int, total: int) -> None:
        """Move the trial's bar, which is there from its first steps to its end."""
        if planned.title not in self.running:
            self.running[planned.title] = self.bars.add_task(planned.title, unit="steps", total=total)
        self.bars.update(self.running[planned.title], completed=done, total=total)

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """Move the upper bar; say what did not end as done."""
        self.bars.advance(self.task)
        if planned.title in self.running:
            self.bars.remove_task(self.running.pop(planned.title))
        if result.status != "done":
            self.console.print(f"{planned.title}: {result.status}: {result.reason}", markup=False)
        for label, error in result.side_errors.items():
            self.console.print(f"{planned.title}: {label} failed: {error.kind}: {error.message}", markup=False)

    def say(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(text, markup=False)

    def close(self) -> None:
        """Take the display away."""
        self.bars.stop()


class PlainProgress:
    """A line at most every five seconds, and one for each trial that did not end as done."""

    def __init__(self) -> None:
        self.console = errors()
        self.total = self.ended = 0
        self.started = self.last = time.perf_counter()

    def begin(self, total: int, cached: int) -> None:
        """Say what there is to do."""
        self.total = total - cached
        self.started = self.last = time.perf_counter()
        self.say(f"{total} trials: {cached} done before, {self.total} to train")

    def step(self, planned: PlannedTrial, done: int, total: int) -> None:
        """Say where it is and how long it may still take, now and then."""
        now = time.perf_counter()
        if now - self.last >= _SECONDS_BETWEEN_LINES:
            self.last = now
            left = ""
            budget = planned.trial.budget
            unit = "gradient" if budget.gradient_evaluations else "second" if budget.seconds else "step"
            if self.ended >= _TRIALS_BEFORE_ESTIMATE:
                share = (self.ended + done / max(total, 1)) / self.total
                left = f"; about {(now - self.started) * (1 / share - 1):.0f} s left"
            self.say(f"{self.ended}/{self.total} trials; {planned.title}: {unit} {done}/{total}{left}")

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """Count; say what did not end as done."""
        self.ended += 1
        if result.status != "done":
            self.say(f"{planned.title}: {result.status}: {result.reason}")
        for label, error in result.side_errors.items():
            self.say(f"{planned.title}: {label} failed: {error.kind}: {error.message}")

    def say(self, text: str) -> None:
        """A line."""
        self.console.print(text, markup=False)

    def close(self) -> None:
        """Nothing to take away."""


class Measuring:
    """The share of a measurement that is done: a bar on a terminal, nothing elsewhere."""

    def __init__(self, what: str) -> None:
        console = errors()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(what, total=None)

    def __enter__(self) -> Measuring:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """So much is done of so much."""
        self.bar.update(self.task, completed=done, total=total)


class NoProgress:
    """Says nothing but what went wrong."""

    def begin(self, total: int, cached: int) -> None:
        """Say nothing."""

    def step(self, planned: PlannedTrial, done: int, total: int) -> None:
        """Say nothing."""

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """Say nothing: failures are in the report."""

    def say(self, text: str) -> None:
        """What is wrong with results on disk."""
        errors().print(text, markup=False)

    def close(self) -> None:
        """Nothing to take away."""


def make_progress(quiet: bool = False) -> LiveProgress | PlainProgress | NoProgress:
    """The live display on a terminal, plain lines elsewhere, nothing where that is asked for."""
    if quiet:
        return NoProgress()
    return LiveProgress() if errors().is_terminal else PlainProgress()
