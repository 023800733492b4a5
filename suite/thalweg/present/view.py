"""A benchmark's results as pages and reports show them: every trial on disk, under a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from thalweg.benchmark_file import TUNING_SEED
from thalweg.expand import Benchmark
from thalweg.plan import Workload
from thalweg.present.expansion import Expansion, as_far_as_possible, best_expansion
from thalweg.present.naming import guessed_workload, labels
from thalweg.registry import Registry
from thalweg.scoring.leaderboard import COLUMNS
from thalweg.scoring.observations import Observations, observe, observe_stored
from thalweg.scoring.over_all import OverAll, over_all
from thalweg.scoring.scales import changes, settled
from thalweg.scoring.stability import stability
from thalweg.scoring.tuning import by_budget
from thalweg.stacking import OnDisk
from thalweg.store.stored import Documents, Stored
from thalweg.store.timings import StepTime, on_one_machine
from thalweg.tuning.plan import TunedPlan

IN_BENCHMARK, ADDED, NOT_EXPANDED = "yes", "added", "cannot be expanded"


@dataclass
class View:
    """A benchmark's results under the names that the pages show."""

    workloads: dict[str, Workload]
    seen: Observations
    """``trials`` has one more column, ``in_benchmark``: yes, added, or cannot be expanded."""
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

    @cached_property
    def budgets(self) -> pd.DataFrame:
        """The leaderboard for each tuning budget."""
        return by_budget(self.plan, self.everything) if self.plan else pd.DataFrame()

    @cached_property
    def over_all(self) -> OverAll | None:
        """The ranking over all workloads; None where fewer than two have a target."""
        found = over_all(self.plan, self.seen) if self.plan and len(self.seen.trials) else None
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
    found = Expansion(TunedPlan("", {}, []), OnDisk([], []))
    if benchmark is not None:
        found = best_expansion(benchmark, registry, stored, expand=as_far_as_possible)
    plan = found.plan
    on_disk = stored.trials
    times = times or {}
    machine, _ = on_one_machine(times, on_disk["configuration"].tolist() if times else [])
    times = {key: [time for time in each if time.machine == machine] for key, each in times.items()}
    inside = observe(plan, stored, times)
    known = dict(plan.workloads)
    guessed = []
    for name in sorted(set(on_disk["workload"].unique()) - set(known)):
        if benchmark is None or name in benchmark.spec.workloads:
            known[name] = guessed_workload(name, stored.only(on_disk["workload"] == name))
            guessed.append(name)
    others = stored.only(_beside(found, benchmark, stored))
    beside = others.only(others.trials["workload"].isin(list(known)))
    added = observe_stored(replace(beside, trials=beside.trials.assign(optimizer=labels(plan, beside.trials))), times)
    not_expanded = set(benchmark.spec.optimizers) - {planned.optimizer for planned in plan.trials} if benchmark else ()
    origin = added.trials["optimizer"].map(
        lambda label: NOT_EXPANDED if benchmark is None or label in not_expanded else ADDED
    )
    origin = origin.where(~added.trials["workload"].isin(guessed), NOT_EXPANDED)
    trials = [inside.trials.assign(in_benchmark=IN_BENCHMARK), added.trials.assign(in_benchmark=origin)]
    there = set(stored.column("hash"))
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
        missing=[planned.title for planned in (*plan.tuning, *plan.trials) if planned.trial.hash not in there],
        elsewhere=len(others.trials) - len(beside.trials),
        problems=found.reasons,
        mixed=found.way.notes,
        plan=plan if benchmark else None,
        guessed=guessed,
        rescaled=changes(known, workloads),
    )


def _beside(found: Expansion, benchmark: Benchmark | None, stored: Stored) -> pd.Series:
    """Which trials on disk are added to the plan: they are not in it, and are neither settings of tuning nor mixed."""
    on_disk = stored.trials
    named = {planned.trial.hash for planned in (*found.plan.trials, *found.plan.tuning)}
    beside = pd.Series([hash_ not in named for hash_ in stored.column("hash")], on_disk.index, dtype=bool)
    if benchmark is not None and benchmark.spec.tuning:
        # a setting that an earlier plan tried is no optimizer
        beside &= on_disk["seed"] < TUNING_SEED
    # a batched trial among trials that were trained alone, or the reverse, is no optimizer either
    return beside & ~on_disk["configuration"].isin(list(found.way.left_out))


def _together(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of both; a column that is categorical in both stays categorical."""
    if one.empty or other.empty:
        return one if other.empty else other
    parts = [one, other]
    for name in one.columns[[isinstance(kind, pd.CategoricalDtype) for kind in one.dtypes]]:
        union = one[name].cat.categories.union(other[name].cat.categories)
        parts = [part.assign(**{name: part[name].cat.set_categories(union)}) for part in parts]
    return pd.concat(parts, ignore_index=True)
