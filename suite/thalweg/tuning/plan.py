"""The trials of a benchmark that tunes: first the settings to try, then the final seeds of the best settings.

Only trials are kept. The selection follows from the trials on disk, so every reader selects alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from thalweg.benchmark_file import TUNING_SEED, TuningSpec
from thalweg.contracts.option import resolve
from thalweg.expand import Benchmark
from thalweg.limits import TRIALS
from thalweg.plan import Plan, PlannedTrial, pairs_of
from thalweg.registry import Registry
from thalweg.selection import Selection
from thalweg.shown import brief
from thalweg.stacking import alone, settings_stack
from thalweg.store.stored import Stored
from thalweg.trial import Trial
from thalweg.tuning.outcome import COLUMNS, Outcome, Tried, read_scores
from thalweg.tuning.space import Point, Space, points_beyond, space_of


class Later(NamedTuple):
    """The trials that a plan does not have yet, because results of others decide which they are."""

    search: int
    """Trials of further seeds of settings that may turn out hopeless at their first seed."""
    final: int
    """Trials of the best settings with the seeds that count."""
    extension: int
    """Trials of settings beyond the ends of ranges, at most."""


@dataclass
class TunedPlan(Plan):
    """The plan of a benchmark that tunes, as far as the trials on disk determine it."""

    outcomes: list[Outcome] = field(default_factory=list)
    """The outcome of tuning for each workload and optimizer; empty where the benchmark does not tune."""
    settled: bool = True
    """Whether all trials are known."""
    extended: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    """The budgets whose range was extended, because their best setting lay at an end, by workload and optimizer."""
    smaller: dict[int, Sequence[PlannedTrial]] = field(default_factory=dict)
    """The final seeds of the best settings, by tuning budget. Those of the largest budget are the plan's trials."""

    later: Later = field(default_factory=lambda: Later(0, 0, 0))
    """The trials that follow those of this plan."""

    @property
    def settings(self) -> dict[str, dict[str, float]]:
        """The setting that each trial of the search tries, by hash."""
        return {hash_: one.setting for outcome in self.outcomes for one in outcome.tried for hash_ in one.hashes}

    @property
    def tried(self) -> pd.DataFrame:
        """A row for each setting that is tried; see ``outcome.COLUMNS``."""
        return pd.DataFrame([row for outcome in self.outcomes for row in outcome.rows()], columns=COLUMNS)


def plan_of(benchmark: Benchmark, registry: Registry, selection: Selection, stored: Stored) -> TunedPlan:
    """The plan that follows from the trials on disk.

    Each optimizer on each workload is tuned by itself: no other optimizer changes its settings. A budget takes the best
    of its own settings. If their best lies at an end, the range is extended beyond that end, once, for this budget. The
    final seeds are planned after all settings of all budgets have been tried.
    """
    if benchmark.files is not None:  # results are only read, perhaps on a machine that trained none of them
        benchmark = replace(benchmark, found=stored.found)
    tuning = benchmark.spec.tuning
    if tuning is None:
        plan = benchmark.expand(registry, selection)
        return TunedPlan(plan.benchmark, plan.workloads, plan.trials)
    return _Planning(benchmark, registry, selection, stored, tuning).plan()


class _Planning:
    def __init__(
        self, benchmark: Benchmark, registry: Registry, selection: Selection, stored: Stored, tuning: TuningSpec
    ) -> None:
        self.benchmark, self.registry, self.stored, self.tuning = benchmark, registry, stored, tuning
        self.selection = selection
        self.there = dict(
            zip(stored.column("hash"), zip(stored.trials.index, stored.column("status"), strict=True), strict=True)
        )
        self.trials: dict[str, PlannedTrial] = {}
        self.all = replace(selection, only=(), seeds=1, stacks=alone)
        self._check_count()
        # this also checks the selection
        final = benchmark.expand(registry, selection).trials
        self.wanted = set(pairs_of(final))
        self.final = Counter((planned.workload, planned.optimizer) for planned in final)

    def _check_count(self) -> None:
        """TooMuch where more settings are asked for than the limit allows; counted before a point is drawn."""
        spec = self.benchmark.spec
        pairs = len(spec.workloads) * len(self.benchmark.optimizers(self.selection))
        settings = self._most + 2 * points_beyond(self.tuning, self._most)
        counts = f"{pairs:,} workloads x optimizers x {brief(settings)} settings x {self.tuning.seeds:,} seeds"
        TRIALS.check(pairs * settings * self.tuning.seeds, f"{self.benchmark.path.name}: tuning: {counts}")

    def plan(self) -> TunedPlan:
        spaces = self._spaces()
        outcomes = self._outcomes({pair: space.settings(self._most) for pair, space in spaces.items()})
        self._read(outcomes.values())
        for pair, one in outcomes.items():
            one.fixed_rates = self._fixed_rates(*pair)
        extended: dict[tuple[str, str], tuple[int, ...]] = {}
        further: dict[tuple[str, str], list[Point]] = {}
        for pair, one in outcomes.items():
            if not one.complete:
                continue
            one.choose(self.tuning.budgets)
            beyond = {budget: spaces[pair].beyond(budget, one.ends(budget)) for budget in self.tuning.budgets}
            points = list(dict.fromkeys(point for each in beyond.values() for point in each))
            if points:
                extended[pair] = tuple(budget for budget, each in beyond.items() if each)
                further[pair] = points
                one.paid = beyond
        added = self._outcomes({pair: [dict(p.setting) for p in points] for pair, points in further.items()})
        for pair, more in added.items():
            one = outcomes[pair]
            for point, tried in zip(further[pair], more.tried, strict=True):
                tried.point = point
            one.tried += more.tried
        self._read(outcomes[pair] for pair in added)
        for one in map(outcomes.__getitem__, added):
            one.best.clear()
            if one.complete:
                one.choose(self.tuning.budgets)
        unsettled = {pair for pair in self.wanted if not outcomes[pair].complete}
        plan = self._whole(outcomes, unsettled, extended)
        plan.later = self._later(
            outcomes, unsettled, {pair: len(spaces[pair].ranges) for pair in unsettled - set(extended)}
        )
        return plan

    def _later(
        self,
        outcomes: Mapping[tuple[str, str], Outcome],
        unsettled: Iterable[tuple[str, str]],
        ranges: Mapping[tuple[str, str], int],
    ) -> Later:
        """The trials that follow for pairs whose best settings are not known, by the number of ranges searched."""
        beyond = sum(2 * points_beyond(self.tuning, budget) for budget in self.tuning.budgets)
        extensible = sum(count == 1 for count in ranges.values())
        final = sum(self.final[pair] for pair in unsettled) * len(self.tuning.budgets)
        mine = [one for pair in unsettled for one in outcomes[pair].tried if not one.hopeless]
        search = sum(len(one.hashes) - len(self._asked(one)) for one in mine)
        return Later(search, final, extensible * beyond * self.tuning.seeds)

    def _read(self, outcomes: Iterable[Outcome]) -> None:
        """Read what settings gave. The curves of a workload are read at once, since each look for some takes long."""
        by_workload: dict[str, list[Outcome]] = {}
        for one in outcomes:
            by_workload.setdefault(one.workload.name, []).append(one)
        for mine in by_workload.values():
            read_scores(mine, self.stored, self.there, self.tuning.stop_hopeless)

    @property
    def _most(self) -> int:
        return max(self.tuning.budgets)

    def _spaces(self) -> dict[tuple[str, str], Space]:
        found = {}
        for workload in self.benchmark.spec.workloads:
            for label, spec in self.benchmark.optimizers(self.selection).items():
                optimizer = self.registry.optimizer(spec.optimizer or label)
                names = self.tuning.hyperparameters.get(label, ("lr",))
                given = self.benchmark.given(workload, label, spec)
                where = f"{self.benchmark.path.name}: tuning: optimizer {label!r}"
                found[workload, label] = space_of(self.tuning, optimizer.options, names, given, where)
        return found

    def _fixed_rates(self, workload: str, label: str) -> dict[str, float]:
        """The learning rates of an optimizer that are not searched, with their values."""
        spec = self.benchmark.optimizers(self.selection)[label]
        optimizer = self.registry.optimizer(spec.optimizer or label)
        searched = self.tuning.hyperparameters.get(label, ("lr",))
        values = resolve(optimizer.options, self.benchmark.given(workload, label, spec), label)
        return {name: values[name] for name in optimizer.other_rates if name not in searched}

    def _outcomes(
        self, settings: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
    ) -> dict[tuple[str, str], Outcome]:
        """The trials that try these settings, by pair."""
        plan = self.benchmark.expand(self.registry, self.all, settings)
        found: dict[tuple[str, str], Outcome] = {}
        # expansion keeps the order of settings, with one seed each
        for planned in plan.trials:
            pair = (planned.workload, planned.optimizer)
            outcome = found.setdefault(pair, Outcome(plan.workloads[pair[0]], pair[1], []))
            seeds = range(TUNING_SEED, TUNING_SEED + self.tuning.seeds)
            trial = self._placed(planned.trial, len(settings[pair]), len(outcome.tried), f"{pair[0]} · {pair[1]}")
            trials = list(trial.at_seeds(list(seeds)))
            self.trials |= {trial.hash: replace(planned, trial=trial, probes=(), keep=None) for trial in trials}
            number = len(outcome.tried)
            outcome.tried.append(Tried(dict(settings[pair][number]), number, [trial.hash for trial in trials]))
        return found

    def _placed(self, trial: Trial, settings: int, number: int, title: str) -> Trial:
        """A trial with its place in the stack of settings, where the settings train in a stack."""
        if settings * self.tuning.seeds < 2:
            return trial
        candidate = trial.model_copy(update={"stack": settings_stack(number)})
        seeds = range(TUNING_SEED, TUNING_SEED + self.tuning.seeds)
        return candidate if self.selection.stacks(candidate, f"{title} (tuning)", seeds) else trial

    def _asked(self, one: Tried) -> Sequence[str]:
        """The trials of a setting that are wanted: of the first seed alone while it may be hopeless, or is."""
        only_first = self.tuning.stop_hopeless and (one.hopeless or not one.begun)
        return one.hashes[:1] if only_first else one.hashes

    def _whole(
        self,
        outcomes: dict[tuple[str, str], Outcome],
        unsettled: set[tuple[str, str]],
        extended: dict[tuple[str, str], tuple[int, ...]],
    ) -> TunedPlan:
        smaller: dict[int, Sequence[PlannedTrial]] = {}
        workloads = self.benchmark.expand(self.registry, self.selection, {}).workloads
        for budget in self.tuning.budgets:
            best = {pair: [outcomes[pair].best[budget].setting] for pair in self.wanted if pair not in unsettled}
            smaller[budget] = self.benchmark.expand(self.registry, self.selection, best).trials
        trials = smaller.pop(self._most)
        counted = {planned.trial.hash for planned in trials}
        tuning = [self.trials[hash_] for pair in outcomes if pair in self.wanted
                  for one in outcomes[pair].tried for hash_ in self._asked(one)]  # fmt: skip
        tuning += [planned for each in smaller.values() for planned in each if planned.trial.hash not in counted]
        return TunedPlan(
            self.benchmark.name,
            workloads,
            trials,
            tuning,
            {pair: outcomes[pair].choice(self._most) for pair in self.wanted if pair not in unsettled},
            list(outcomes.values()),
            not unsettled,
            extended,
            smaller,
        )
