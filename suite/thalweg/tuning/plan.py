"""The trials of a benchmark that tunes: first the settings to try, then the final seeds of the best settings.

Only trials are kept. The selection follows from the trials on disk, so every reader selects alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from thalweg.benchmark_file import TUNING_SEED, TuningSpec
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
from thalweg.tuning.space import Space, points_beyond, space_of


@dataclass
class TunedPlan(Plan):
    """The plan of a benchmark that tunes, as far as the trials on disk determine it."""

    outcomes: list[Outcome] = field(default_factory=list)
    """The outcome of tuning for each workload and optimizer; empty where the benchmark does not tune."""
    settled: bool = True
    """Whether all trials are known."""
    extended: list[str] = field(default_factory=list)
    """Workloads whose ranges were all extended, because an optimizer had its best setting at an end."""
    smaller: dict[int, Sequence[PlannedTrial]] = field(default_factory=dict)
    """The final seeds of the best settings, by tuning budget. Those of the largest budget are the plan's trials."""

    @property
    def tried(self) -> pd.DataFrame:
        """A row for each setting that is tried; see ``outcome.COLUMNS``."""
        return pd.DataFrame([row for outcome in self.outcomes for row in outcome.rows()], columns=COLUMNS)


def plan_of(benchmark: Benchmark, registry: Registry, selection: Selection, stored: Stored) -> TunedPlan:
    """The plan that follows from the trials on disk.

    The best setting of an optimizer is taken after all its settings have been tried. If an optimizer has its best
    setting at an end of its range, the ranges of all optimizers on the workload are extended, once. The final seeds of
    a workload are planned when every wanted optimizer is settled.
    """
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
        self.trials: dict[str, PlannedTrial] = {}
        # no --only: whether a range is extended must not depend on it
        self.all = replace(selection, only=(), seeds=1, stacks=alone)
        self._check_count()
        # this also checks the selection
        self.wanted = set(pairs_of(benchmark.expand(registry, selection).trials))

    def _check_count(self) -> None:
        """TooMuch where more settings are asked for than the limit allows; counted before a point is drawn."""
        spec = self.benchmark.spec
        pairs = len(spec.workloads) * len(self.benchmark.optimizers(self.selection))
        settings = self._most + 2 * points_beyond(self.tuning, self._most)
        counts = f"{pairs:,} workloads x optimizers x {brief(settings)} settings x {self.tuning.seeds:,} seeds"
        TRIALS.check(pairs * settings * self.tuning.seeds, f"{self.benchmark.path.name}: tuning: {counts}")

    def plan(self) -> TunedPlan:
        spaces = self._spaces()
        outcomes = self._outcomes({pair: space.settings(self._most) for pair, space in spaces.items()}, False)
        complete = {pair: read_scores(one.tried, self.stored, one.workload) for pair, one in outcomes.items()}
        for pair, one in outcomes.items():
            if complete[pair]:
                one.choose(self.tuning.budgets, dict.fromkeys(self.tuning.budgets, 0))
        waiting = {
            workload
            for workload, _ in self.wanted
            if not all(complete[pair] for pair in self.wanted if pair[0] == workload)
        }
        edges = {one.workload.name for one in outcomes.values() if one.at_edge} - waiting
        further = {
            pair: more for pair, space in spaces.items() if pair[0] in edges and (more := space.extension(self._most))
        }
        for pair, beyond in self._outcomes(further, True).items():
            one = outcomes[pair]
            one.tried += beyond.tried
            complete[pair] = read_scores(one.tried, self.stored, one.workload)
            one.best.clear()
            if complete[pair]:
                paid = {budget: points_beyond(self.tuning, budget) for budget in self.tuning.budgets}
                one.choose(self.tuning.budgets, paid)
        unsettled = {workload for workload, label in self.wanted if not complete[workload, label]}
        return self._whole(outcomes, unsettled, sorted({workload for workload, _ in further}))

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

    def _outcomes(
        self, settings: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], extension: bool
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
            number = len(outcome.tried) % max(1, len(settings[pair]) // (2 if extension else 1))
            setting = dict(settings[pair][len(outcome.tried)])
            outcome.tried.append(Tried(setting, number, extension, [trial.hash for trial in trials]))
        return found

    def _placed(self, trial: Trial, settings: int, number: int, title: str) -> Trial:
        """A trial with its place in the stack of settings, where the settings train in a stack."""
        if settings * self.tuning.seeds < 2:
            return trial
        candidate = trial.model_copy(update={"stack": settings_stack(number)})
        seeds = range(TUNING_SEED, TUNING_SEED + self.tuning.seeds)
        return candidate if self.selection.stacks(candidate, f"{title} (tuning)", seeds) else trial

    def _whole(self, outcomes: dict[tuple[str, str], Outcome], unsettled: set[str], extended: list[str]) -> TunedPlan:
        smaller: dict[int, Sequence[PlannedTrial]] = {}
        workloads = self.benchmark.expand(self.registry, self.selection, {}).workloads
        for budget in self.tuning.budgets:
            best = {pair: [outcomes[pair].best[budget].setting] for pair in self.wanted if pair[0] not in unsettled}
            smaller[budget] = self.benchmark.expand(self.registry, self.selection, best).trials
        trials = smaller.pop(self._most)
        counted = {planned.trial.hash for planned in trials}
        tuning = [self.trials[hash_] for pair in outcomes if pair in self.wanted
                  for one in outcomes[pair].tried for hash_ in one.hashes]  # fmt: skip
        tuning += [planned for each in smaller.values() for planned in each if planned.trial.hash not in counted]
        return TunedPlan(
            self.benchmark.name, workloads, trials, tuning, list(outcomes.values()), not unsettled, extended, smaller
        )
