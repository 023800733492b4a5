"""Progress of a run on standard error: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from thalweg.console import errors, terminal
from thalweg.outcome import TrialResult
from thalweg.plan import PlannedTrial
from thalweg.present.sentences import count
from thalweg.runner.cost import TimeLeft, Usual
from thalweg.shown import shown

_SECONDS_BETWEEN_LINES = 5.0


class _Left(TimeRemainingColumn):
    """The time left: of the whole run by the measured cost of trials, of one trial by its steps."""

    def render(self, task: Task) -> Text:
        """The time left, in words."""
        return Text(task.fields["left"]) if "left" in task.fields else super().render(task)


class Totals:
    """How many trials ended in which way, and how long the others may take."""

    def __init__(self, cached: int, left: Sequence[PlannedTrial], usual: Usual) -> None:
        self.cached, self.total = cached, len(left)
        self.ended: Counter[str] = Counter()
        self.time = TimeLeft(left, usual)
        self.started = time.perf_counter()

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """Count a trial that ended."""
        self.ended[result.status] += 1
        self.time.end(planned, time.perf_counter())

    def step(self, trials: Sequence[PlannedTrial], done: int, total: int) -> None:
        """Take note of the steps of trials that train together."""
        self.time.step(trials, done, total, time.perf_counter())

    @property
    def counts(self) -> str:
        """Such as "12 done, 1 failed, 40 done before"."""
        words = [f"{self.ended[status]} {status}" for status in ("done", "diverged", "failed") if self.ended[status]]
        return ", ".join([*words, f"{self.cached} done before"] if self.cached else words)

    @property
    def left(self) -> str:
        """Such as "about 3 min left"; empty until a time is known."""
        return self.time.told(time.perf_counter())


def _title(trials: Sequence[PlannedTrial]) -> str:
    """The title of trials that train together."""
    return trials[0].title + (f" and {len(trials) - 1} more" if len(trials) > 1 else "")


_NAMED = 3
"""So many trials get a line each, of all that ended for one reason."""


class Causes:
    """Lines about trials that diverged or failed: the first few of a reason one by one, and the others in one line."""

    def __init__(self) -> None:
        self.ends: Counter[tuple[str, str]] = Counter()

    def line(self, planned: PlannedTrial, result: TrialResult) -> str | None:
        """The line about a trial; None where enough trials of its reason are named."""
        cause = (str(result.status), result.reason)
        self.ends[cause] += 1
        return f"{planned.title}: {result.status}: {result.reason}" if self.ends[cause] <= _NAMED else None

    def rest(self) -> list[str]:
        """A line for each reason of more trials than were named."""
        over = {cause: number - _NAMED for cause, number in self.ends.items() if number > _NAMED}
        self.ends.clear()
        return [f"{count(more, 'more trial')}: {status}: {reason}" for (status, reason), more in over.items()]


class LiveProgress:
    """One bar for all trials, with their outcomes and the time left, and a bar of steps for each running trial."""

    def __init__(self) -> None:
        self.console = terminal()
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            _Left(),
            console=self.console,
            transient=True,
        )
        self.totals = Totals(0, [], {})
        self.causes = Causes()
        self.task = self.bars.add_task("trials", unit="", left="", total=None)
        self.running: dict[str, TaskID] = {}

    def begin(self, cached: int, left: Sequence[PlannedTrial], usual: Usual) -> None:
        """Show the display, unless no trial is left to train."""
        if left:
            self.totals = Totals(cached, left, usual)
            self.bars.update(self.task, total=len(left), unit=self.totals.counts)
            self.bars.start()

    def step(self, trials: Sequence[PlannedTrial], done: int, total: int) -> None:
        """Move the bar of the trials; their first step adds the bar."""
        title = trials[0].title
        if title not in self.running:
            self.running[title] = self.bars.add_task(shown(_title(trials)), unit="steps", total=total)
        self.bars.update(self.running[title], completed=done, total=total)
        self.totals.step(trials, done, total)
        self.bars.update(self.task, left=self.totals.left)

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """Move the bar of all trials, and name a trial that diverged or failed."""
        self.totals.end(planned, result)
        self.bars.update(self.task, advance=1, unit=self.totals.counts, left=self.totals.left)
        if planned.title in self.running:
            self.bars.remove_task(self.running.pop(planned.title))
        if result.status != "done" and (line := self.causes.line(planned, result)):
            self.console.print(line, markup=False)
        for label, error in result.side_errors.items():
            self.console.print(f"{planned.title}: {label} failed: {error.kind}: {error.message}", markup=False)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, markup=False)

    def close(self) -> None:
        """Remove the display, and count the trials that were not named."""
        self.bars.stop()
        for line in self.causes.rest():
            self.say(line)


class PlainProgress:
    """A line at most every five seconds, and a line for each trial that diverged or failed."""

    def __init__(self) -> None:
        self.console = errors()
        self.totals = Totals(0, [], {})
        self.causes = Causes()
        self.last = time.perf_counter()

    def begin(self, cached: int, left: Sequence[PlannedTrial], usual: Usual) -> None:
        """Print how many trials are done and how many are left to train."""
        self.totals = Totals(cached, left, usual)
        self.last = self.totals.started
        self.say(f"{cached + len(left)} trials: {cached} done before, {len(left)} to train")

    def step(self, trials: Sequence[PlannedTrial], done: int, total: int) -> None:
        """Print the progress and the time left, at most every five seconds."""
        self.totals.step(trials, done, total)
        now = time.perf_counter()
        if now - self.last >= _SECONDS_BETWEEN_LINES:
            self.last = now
            budget = trials[0].trial.budget
            unit = {"gradient_evaluations": "gradient", "seconds": "second", "work": "work"}.get(budget.axis[0], "step")
            counts = f" ({self.totals.counts})" if self.totals.counts else ""
            left = f"; {self.totals.left}" if self.totals.left else ""
            head = f"{self.totals.ended.total()}/{self.totals.total} trials{counts}"
            self.say(f"{head}; {_title(trials)}: {unit} {done}/{total}{left}")

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """Count the trial, and name it if it diverged or failed."""
        self.totals.end(planned, result)
        if result.status != "done" and (line := self.causes.line(planned, result)):
            self.say(line)
        for label, error in result.side_errors.items():
            self.say(f"{planned.title}: {label} failed: {error.kind}: {error.message}")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False)

    def close(self) -> None:
        """Count the trials that were not named."""
        for line in self.causes.rest():
            self.say(line)


class Measuring:
    """A bar for a measurement on a terminal; elsewhere it shows nothing."""

    def __init__(self, what: str) -> None:
        console = errors()
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(shown(what), total=None)

    def __enter__(self) -> Measuring:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` is done."""
        self.bar.update(self.task, completed=done, total=total)


class NoProgress:
    """Prints only faults of the results on disk."""

    def begin(self, cached: int, left: Sequence[PlannedTrial], usual: Usual) -> None:
        """Do nothing."""

    def step(self, trials: Sequence[PlannedTrial], done: int, total: int) -> None:
        """Do nothing."""

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """Do nothing: the report lists failures."""

    def say(self, text: str) -> None:
        """Print a fault of the results on disk."""
        errors().print(text, markup=False)

    def close(self) -> None:
        """Do nothing."""


def make_progress(quiet: bool = False) -> LiveProgress | PlainProgress | NoProgress:
    """The live display on a terminal, plain lines elsewhere; with ``quiet`` only faults."""
    if quiet:
        return NoProgress()
    return LiveProgress() if errors().is_terminal else PlainProgress()
