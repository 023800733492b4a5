"""A folder into which a run writes, from look to look: what ended, what trains now, and the time left."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from thalweg.plan import PlannedTrial
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import title_of
from thalweg.runner.cost import TimeLeft, usual_seconds
from thalweg.runner.done import left_to_do
from thalweg.runner.run import trials_of
from thalweg.store.announced import RunAtWork, runs_at_work
from thalweg.store.index import read_stored
from thalweg.store.listing import STAMPS, Listing, look
from thalweg.store.results import BenchmarkResults
from thalweg.store.stored import Stored
from thalweg.store.sweep import InTraining, in_training

WINDOW = 300.0
"""Seconds over which trials per minute are counted, at most."""
IDLE_LOOKS = 2
"""Looks in a row without a training that tell that nothing is at work: between two trials a look may find none."""
_ENDED = ("done", "diverged", "failed")
_CURVE = STAMPS.index("curve_ns")


class Ended(NamedTuple):
    """A trial that ended."""

    time: float
    """Seconds since the epoch; 0 in packed results, which tell no times."""
    hash: str
    title: str
    status: str
    reason: str


class Progress(NamedTuple):
    """How the trials of a plan, or of the runs at work, stand; each trial once."""

    counts: Mapping[str, int]
    """Trials by status: done, diverged, failed, and what is left: unfinished and missing, or, of runs, to train."""
    beside: int
    """Trials on disk that are not in the plan."""
    later: int
    """Trials that tuning has yet to decide, at most."""

    @property
    def total(self) -> int:
        """The trials of the plan."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """The trials that are done, diverged or failed."""
        return sum(self.counts[status] for status in _ENDED)

    @property
    def to_train(self) -> int:
        """The trials that a run trains: missing, unfinished, failed, and those that tuning has yet to decide."""
        return self.total - self.counts["done"] - self.counts["diverged"] + self.later


@dataclass(frozen=True)
class Snapshot:
    """What a look found."""

    loaded: Loaded
    progress: Progress | None
    """Of the benchmark; None where its file cannot be used, so nobody knows what is missing."""
    run: Progress | None
    """Of what the runs at work train; None where none has announced what it trains."""
    stage: bool
    """Whether ``run`` is about a stage of tuning."""
    training: Sequence[InTraining]
    at_work: bool
    """Whether a run is at work: a trial was in training at one of the last looks."""
    newest: Sequence[Ended]
    """The trials that ended, the newest first."""
    per_minute: float | None
    """Trials that ended per minute, see ``per_minute``; None where nothing is at work."""
    left: str
    """The time left, as ``thalweg run`` tells it; empty where it is not known."""


@dataclass
class Watch:
    """Follows one benchmark's results; it reads them again only when a look finds them changed."""

    root: Path
    name: str
    read: Callable[[BenchmarkResults, Listing], Loaded]
    """Reads results as they were listed."""
    loaded: Loaded | None = None
    _digest: str = ""
    _stored: Stored | None = None
    _newest: list[Ended] = field(default_factory=list)
    _progress: Progress | None = None
    _wanted: dict[str, PlannedTrial] = field(default_factory=dict)
    _time: TimeLeft | None = None
    _seen: set[str] = field(default_factory=set)
    """The trials that were seen in training."""
    _over: set[str] = field(default_factory=set)
    """The trials that ended in this run."""
    _announced: bool = False
    """Whether the run at work has announced what it trains."""
    _idle: int = IDLE_LOOKS
    _looked: float = 0.0

    def look(self, now: float) -> Snapshot | None:
        """Look at the folder at ``now``, in seconds since the epoch; None where no results are there.

        Raises:
            UserError: the folder cannot be read as results.
            OSError: it changed while it was read.
        """
        results = BenchmarkResults(self.root, self.name)
        if not os.path.lexists(results.path):
            self._digest = ""
            return None
        # before the listing: a trial that ends meanwhile is on disk when its run tells it
        runs = runs_at_work(results)
        training = in_training(results)
        listing = look(results)
        new: list[Ended] = []
        if self.loaded is None or listing.digest != self._digest:
            new = self._read(results, listing)
        assert self.loaded is not None
        self._idle = 0 if runs or training or new else min(self._idle + 1, IDLE_LOOKS)
        at_work = self._idle < IDLE_LOOKS
        if at_work:
            self._announced |= bool(runs)
            self._follow(runs, training, new)
        else:
            self._time, self._seen, self._over, self._announced = None, set(), set(), False
        self._looked = now
        left = self._time.told(now) if self._time is not None else ""
        of_runs = {hash_ for run in runs for hash_ in run.ended}
        times = (one.time for one in self._newest if not runs or one.hash in of_runs)
        rate = per_minute(times, now) if at_work else None
        run, stage = progress_of(runs), any(one.stage for one in runs)
        return Snapshot(self.loaded, self._progress, run, stage, training, at_work, self._newest, rate, left)

    def _read(self, results: BenchmarkResults, listing: Listing) -> list[Ended]:
        """Read the results again; gives the trials that ended since the last reading, the oldest first."""
        first = self.loaded is None
        before = {(one.hash, one.time) for one in self._newest}
        self._stored = read_stored(results, listing)
        self.loaded = self.read(results, listing)
        self._digest = listing.digest
        plan = self.loaded.view.plan
        self._wanted = {planned.trial.hash: planned for planned in trials_of(plan)} if plan else {}
        self._progress = self._count()
        # a packed file has stamps of the whole file, which are no times
        stamps = [] if results.packed else zip(listing.names, listing.stamps[:, _CURVE].tolist(), strict=True)
        times = dict(stamps)
        seen = self.loaded.view.seen.trials
        labels: dict[str, str] = dict(zip(seen["hash"], seen["optimizer"], strict=True))
        trials = self._stored.trials
        ended = trials[trials["status"].isin(_ENDED)]
        columns = ("name", "hash", "workload", "optimizer", "seed", "status", "reason")
        self._newest = sorted(
            (
                Ended(
                    times.get(name, 0) / 1e9, hash_, title_of(workload, labels.get(hash_, label), seed), status, reason
                )
                for name, hash_, workload, label, seed, status, reason in ended[list(columns)].itertuples(index=False)
            ),
            reverse=True,
        )
        return [] if first else [one for one in reversed(self._newest) if (one.hash, one.time) not in before]

    def _count(self) -> Progress | None:
        assert self.loaded is not None
        assert self._stored is not None
        plan = self.loaded.view.plan
        if plan is None:
            return None
        status = dict(zip(self._stored.column("hash"), self._stored.column("status"), strict=True))
        counts = Counter(status.get(hash_, "missing") for hash_ in self._wanted)
        beside = sum(hash_ not in self._wanted and one in _ENDED for hash_, one in status.items())
        return Progress({name: counts[name] for name in (*_ENDED, "unfinished", "missing")}, beside, sum(plan.later))

    def _follow(self, runs: Sequence[RunAtWork], training: Sequence[InTraining], new: Sequence[Ended]) -> None:
        """Tell the runner's estimate of the time left what began and what ended."""
        assert self._stored is not None
        usual = usual_seconds(self._stored)
        if self._time is None:
            self._time = TimeLeft([], usual)
        self._time.usual = usual
        for hash_, pair in self._left(runs).items():
            # tuning plans further trials; one that failed in this run is not tried again by it
            if hash_ not in self._over:
                self._time.left.setdefault(hash_, pair)
        fresh = [one for one in training if one.document.hash not in self._seen]
        # one process trains one stack at a time, and the reason names the process
        groups = [list(group) for _, group in itertools.groupby(sorted(fresh, key=_process), key=_process)]
        for together in sorted(groups, key=_began):
            self._time.step([self._planned(one) for one in together], 0, 1, _began(together))
            self._seen |= {one.document.hash for one in together}
        if self._time.first is None and new:
            self._time.first = self._looked
        for one in new:
            self._over.add(one.hash)
            ended = self._wanted.get(one.hash)
            if one.hash in self._time.left:
                self._time.end_of(one.hash, self._time.left[one.hash], one.time)
            elif ended is not None:
                self._time.end(ended, one.time)
        for run in runs:
            # one that failed to train anew kept its older result, so nothing on disk tells its end
            for hash_ in run.ended:
                self._time.left.pop(hash_, None)

    def _left(self, runs: Sequence[RunAtWork]) -> dict[str, tuple[str, str]]:
        """Workload and optimizer, by hash, of the trials that the runs at work have yet to train."""
        assert self._stored is not None
        if runs or self._announced:
            # between two stages nothing is announced
            return {hash_: pair for run in runs for hash_, pair in run.trials.items() if hash_ not in run.ended}
        left = left_to_do(self._wanted.values(), self._stored, fresh=False)
        return {planned.trial.hash: (planned.workload, planned.optimizer) for planned in left}

    def _planned(self, one: InTraining) -> PlannedTrial:
        document = one.document
        return self._wanted.get(document.hash) or PlannedTrial(document.workload, document.optimizer, document.trial)


def progress_of(runs: Sequence[RunAtWork]) -> Progress | None:
    """How the trials of all runs at work stand, each trial once; None where no run has announced any."""
    if not runs:
        return None
    trials = {hash_ for run in runs for hash_ in run.trials}
    ended: dict[str, str] = {hash_: status for run in runs for hash_, status in run.ended.items()}
    counts = Counter(ended.values())
    left = {"to train": len(trials) - counts.total()}
    return Progress({status: counts[status] for status in _ENDED} | left, 0, sum(run.later for run in runs))


def per_minute(ends: Iterable[float], now: float) -> float | None:
    """How many trials ended per minute, from the first end in the window on; None where fewer than two ended in it.

    Args:
        ends: when trials ended, in seconds since the epoch.
        now: the end of the window, which spans ``WINDOW`` seconds.

    >>> per_minute([100.0, 110.0, 120.0], now=130.0)
    4.0
    """
    inside = [end for end in ends if now - WINDOW <= end < now]
    return 60 * (len(inside) - 1) / (now - min(inside)) if len(inside) > 1 else None


def _process(one: InTraining) -> str:
    return one.document.reason


def _began(group: Sequence[InTraining]) -> float:
    return min(one.since for one in group)
