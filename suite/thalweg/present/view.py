"""A benchmark's results as pages and reports show them: every trial on disk, under a name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thalweg.benchmark_file import TUNING_SEED
from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.expand import Benchmark
from thalweg.plan import Workload, pairs_of
from thalweg.present.curves import Sparklines, sparklines
from thalweg.present.expansion import Expansion, as_far_as_possible, best_expansion
from thalweg.present.naming import guessed_workload, labels
from thalweg.registry import Registry
from thalweg.scoring.leaderboard import COLUMNS, leaderboard
from thalweg.scoring.locate import locate
from thalweg.scoring.measures import STABILITY, tells_cost, wanted_for
from thalweg.scoring.observations import EVERYTHING, NamedCurves, Observations, Wanted, observe, observe_stored
from thalweg.scoring.over_all import OverAll, over_all
from thalweg.scoring.scales import changes, settled
from thalweg.scoring.stability import stability
from thalweg.scoring.tuning import by_budget
from thalweg.stacking import OnDisk
from thalweg.store.stored import Documents, Stored
from thalweg.store.timings import StepTime, on_one_machine
from thalweg.tuning.plan import TunedPlan

IN_BENCHMARK, ADDED, NOT_EXPANDED = "yes", "added", "cannot be expanded"
WHOLE = 2
"""Workloads whose curves stay in memory as a whole."""


class Ranked(NamedTuple):
    """A leaderboard, and the workloads with the scales on which it averages."""

    board: pd.DataFrame
    """Columns as ``thalweg.scoring.leaderboard.COLUMNS``; without rows where no workload has the measure."""
    workloads: dict[str, Workload]


@dataclass
class View:
    """A benchmark's results under the names that the pages show."""

    workloads: dict[str, Workload]
    seen: Observations
    """``trials`` has one more column, ``in_benchmark``: yes, added, or cannot be expanded.

    ``curves`` are the rows that the boards by the workloads' own metrics and the ranking over all workloads need.
    """
    stored: Documents
    """The trials by hash."""
    everything: Stored
    """The trials on disk that all else is made from."""
    missing: list[str] = field(default_factory=list)
    """Titles of the trials that the benchmark asks for and that are not on disk."""
    elsewhere: int = 0
    """How many trials on disk belong to workloads that the benchmark does not have."""
    problems: list[str] = field(default_factory=list)
    """Why the benchmark could not be expanded as a whole, one sentence each."""
    mixed: list[str] = field(default_factory=list)
    """Trials that are left out because a board does not mix batched trials with others; one sentence each."""
    plan: TunedPlan | None = None
    """The benchmark's plan with the outcome of its tuning; None where the benchmark's file cannot be used."""
    guessed: list[str] = field(default_factory=list)
    """Workloads whose plugin is not here, so that their metric is guessed from the curves."""
    rescaled: list[str] = field(default_factory=list)
    """A sentence for each metric that is shown on another scale than its problem declares."""
    sources: list[NamedCurves] = field(default_factory=list)
    """Where the curves of the benchmark's trials are read, and those of added trials."""
    _boards: dict[str | None, Ranked] = field(default_factory=dict)
    _whole: dict[str, pd.DataFrame] = field(default_factory=dict)
    _hyperparameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By configuration."""
    _lines: dict[tuple[str, Metric], Sparklines] = field(default_factory=dict)

    def ranked(self, by: str | None = None) -> Ranked:
        """The leaderboard by a measure or metric; None: each workload's own metric."""
        if by not in self._boards:
            self._boards[by] = self._ranked(by)
        return self._boards[by]

    def _ranked(self, by: str | None) -> Ranked:
        if by == STABILITY.name:
            # a share of trials has no scale
            return Ranked(self.stability, self.workloads)
        seen = self.seen
        if by is not None:
            seen = replace(seen, curves=read_together(self.sources, wanted_for(self.workloads, by)))
        try:
            board = leaderboard(seen, self.workloads, by)
        except UserError:
            board = pd.DataFrame(columns=["workload"])
        return Ranked(board, settled(self.workloads, seen.curves, by))

    def curves(self, workload: str) -> pd.DataFrame:
        """All rows of a workload's curves."""
        found = self._whole.get(workload)
        if found is None:
            found = read_together(self.sources, EVERYTHING, workload=workload)
            # a new dictionary, since several sessions of the app share a view
            self._whole = dict([*self._whole.items(), (workload, found)][-WHOLE:])
        return found

    def curves_of(self, workload: str, optimizer: str, seed: int) -> pd.DataFrame:
        """All rows of the curves of one workload, optimizer and seed."""
        return read_together(self.sources, EVERYTHING, workload=workload, optimizer=optimizer, seed=seed)

    def workload_of(self, name: str) -> Workload:
        """The workload of that name; guessed from the curves for one that the benchmark does not have."""
        known = self.workloads.get(name)
        return known or guessed_workload(name, self.everything.only(self.everything.trials["workload"] == name))

    def hyperparameters(self, hashes: Iterable[str]) -> list[dict[str, Any]]:
        """The hyperparameters of each of these trials, defaults included; none of a trial that cannot be read."""
        known = self._hyperparameters
        found: list[dict[str, Any]] = []
        for hash_ in hashes:
            # trials that differ in their seed alone have one configuration
            key = self._configurations.get(hash_, hash_)
            if key not in known:
                trial = self.stored.get(hash_)
                if trial is None:
                    # the other trials of the configuration may be read
                    found.append({})
                    continue
                of = trial.document
                known[key] = {**of.options.get("optimizer", {}), **of.trial.optimizer.options}
            found.append(known[key])
        return found

    @cached_property
    def _configurations(self) -> dict[str, str]:
        return dict(zip(self.everything.column("hash"), self.everything.column("configuration"), strict=True))

    def is_tuning(self, hash_: str) -> bool:
        """Whether tuning trained the trial, to try its setting."""
        return self.plan is not None and any(planned.trial.hash == hash_ for planned in self.plan.tuning)

    @property
    def with_curves(self) -> list[str]:
        """The names of the workloads that have a curve."""
        there = set(self.seen.curves["workload"].unique())
        return [name for name in self.workloads if name in there or len(self.curves(name))]

    def sparklines(self, workload: Workload) -> Sparklines:
        """The mean curves of a workload's ranking metric."""
        key = workload.name, workload.metric
        if key not in self._lines:
            self._lines[key] = sparklines(self._board_curves(workload), workload)
        return self._lines[key]

    def _board_curves(self, workload: Workload) -> pd.DataFrame:
        """The rows of a workload's curves that its sparklines need."""
        mine = self.seen.curves[self.seen.curves["workload"] == workload.name]
        own = mine.loc[mine["metric"] == workload.metric.name, "split"]
        drawn = {"valid", "train"} if workload.target_split == "train" else {"valid"}
        # without such rows the sparklines are of another split
        return mine if own.isin(drawn).any() else self.curves(workload.name)

    @cached_property
    def budgets(self) -> pd.DataFrame:
        """The leaderboard for each tuning budget."""
        return by_budget(self.plan, self.everything) if self.plan else pd.DataFrame()

    @cached_property
    def over_all(self) -> OverAll | None:
        """The ranking over all workloads; None where fewer than two have a target."""
        told = all(tells_cost(workload) for workload in self.workloads.values())
        found = over_all(self.plan, self.seen) if self.plan and told and len(self.seen.trials) else None
        return found if found and len(found.workloads) > 1 else None

    @cached_property
    def stability(self) -> pd.DataFrame:
        """The leaderboard by stability, of the trials that the benchmark asks for."""
        return stability(self.plan, self.everything)[0] if self.plan else pd.DataFrame(columns=COLUMNS)

    @property
    def optimizers(self) -> list[str]:
        """Every optimizer's label, sorted; charts choose styles among these."""
        return sorted(self.seen.trials["optimizer"].unique())


def make_view(
    benchmark: Benchmark | None,
    registry: Registry,
    stored: Stored,
    times: Mapping[str, list[StepTime]] | None = None,
) -> View:
    """Name every trial on disk.

    A trial of the benchmark's plan keeps its name. Another trial of one of the plan's workloads is added under the
    label that was recorded with it. It counts as a further seed of an optimizer where all other settings are equal;
    else part of a hash after the label tells it apart. Where the benchmark cannot be expanded, because its file cannot
    be used (``None``) or a plugin is not here, workloads are guessed from the curves on disk.
    """
    found = Expansion(TunedPlan("", {}, []), OnDisk([], {}))
    if benchmark is not None:
        found = best_expansion(benchmark, registry, stored, expand=as_far_as_possible)
    plan = found.plan
    on_disk = stored.trials
    known = dict(plan.workloads)
    guessed = []
    for name in sorted(set(on_disk["workload"].unique()) - set(known)):
        if benchmark is None or name in benchmark.spec.workloads:
            known[name] = guessed_workload(name, stored.only(on_disk["workload"] == name))
            guessed.append(name)
    wanted = _wanted(known, plan)
    times = times or {}
    machine, _ = on_one_machine(times, on_disk["configuration"].tolist() if times else [])
    times = {key: [time for time in each if time.machine == machine] for key, each in times.items()}
    located = locate(plan.trials, stored)
    inside = observe(plan, stored, times, wanted, located)
    tuning = {planned.trial.hash for planned in plan.tuning}
    others = stored.only(_beside(found, benchmark, stored, located.inside, tuning))
    beside = others.only(others.trials["workload"].isin(list(known)))
    added = observe_stored(
        replace(beside, trials=beside.trials.assign(optimizer=labels(plan, beside.trials))), times, wanted
    )
    not_expanded = (
        set(benchmark.spec.optimizers) - {optimizer for _, optimizer in pairs_of(plan.trials)} if benchmark else ()
    )
    origin = added.trials["optimizer"].map(
        lambda label: NOT_EXPANDED if benchmark is None or label in not_expanded else ADDED
    )
    origin = origin.where(~added.trials["workload"].isin(guessed), NOT_EXPANDED)
    trials = [inside.trials.assign(in_benchmark=IN_BENCHMARK), added.trials.assign(in_benchmark=origin)]
    tuned = set(stored.column("hash")) if tuning else set()
    missing = [planned.title for planned in plan.tuning if planned.trial.hash not in tuned]
    if inside.missing:
        pairs = zip(plan.trials, located.numbers, strict=True)
        missing += [planned.title for planned, number in pairs if number < 0]
    curves = _together(inside.curves, added.curves)
    workloads = settled(known, curves)
    return View(
        workloads=workloads,
        seen=Observations(
            pd.concat([part for part in trials if len(part)] or trials[:1], ignore_index=True),
            curves,
            timed_on=machine,
        ),
        stored=stored.by_hash,
        everything=stored,
        missing=missing,
        elsewhere=len(others.trials) - len(beside.trials),
        problems=found.reasons,
        mixed=found.way.notes,
        plan=plan if benchmark else None,
        guessed=guessed,
        rescaled=changes(known, workloads),
        sources=[each.source for each in (inside, added) if each.source is not None],
    )


def _wanted(workloads: Mapping[str, Workload], plan: TunedPlan) -> Wanted:
    """The part of the curves that boards by the workloads' own metrics, and the ranking over all workloads, need."""
    ranked = wanted_for(workloads)
    # sparklines show the validation split, where there is one
    where = {
        "metric": {*ranked.where["metric"], *(each.metric.name for each in workloads.values())},
        "split": {*ranked.where["split"], *(each.target_split for each in workloads.values()), "valid"},
    }
    axes = {trial.budget.axis[0] for trial in pairs_of(plan.trials).values()}
    return Wanted(list(dict.fromkeys([*ranked.columns, "examples", "work", *sorted(axes)])), where)


def _beside(
    found: Expansion,
    benchmark: Benchmark | None,
    stored: Stored,
    inside: np.ndarray[Any, Any],
    tuning: Collection[str],
) -> pd.Series:
    """Which trials on disk are added to the plan: they are not in it, and are neither settings of tuning nor mixed."""
    on_disk = stored.trials
    beside = pd.Series(~inside, on_disk.index)
    if tuning:
        beside &= ~on_disk["hash"].isin(list(tuning))
    if benchmark is not None and benchmark.spec.tuning:
        # a setting that an earlier plan tried is no optimizer
        beside &= on_disk["seed"] < TUNING_SEED
    # a batched trial among trials that were trained alone, or the reverse, is no optimizer either
    return beside & ~on_disk["configuration"].isin(list(found.way.left_out))


def read_together(sources: Sequence[NamedCurves], wanted: Wanted, **names: str | int) -> pd.DataFrame:
    """The wanted rows of all sources; ``names`` as in ``NamedCurves.read``."""
    return reduce(_together, [source.read(wanted, **names) for source in sources])


def _together(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of both; a column that is categorical in both stays categorical."""
    if one.empty or other.empty:
        return one if other.empty else other
    parts = [one, other]
    for name in one.columns[[isinstance(kind, pd.CategoricalDtype) for kind in one.dtypes]]:
        union = one[name].cat.categories.union(other[name].cat.categories)
        parts = [part.assign(**{name: part[name].cat.set_categories(union)}) for part in parts]
    return pd.concat(parts, ignore_index=True)
