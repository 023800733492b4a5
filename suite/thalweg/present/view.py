"""What the app shows of a benchmark: its plan as far as it can be expanded, and every trial on disk, named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from thalweg.benchmark import Benchmark, Plan, Workload
from thalweg.benchmark_file import TUNING_SEED
from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.limits import TooMuch
from thalweg.registry import Registry
from thalweg.scoring.leaderboard import COLUMNS
from thalweg.scoring.observations import Observations, observe, observe_stored
from thalweg.scoring.over_all import OverAll, over_all
from thalweg.scoring.scales import changes, settled
from thalweg.scoring.stability import stability
from thalweg.scoring.tuning import by_budget
from thalweg.selection import Selection
from thalweg.stacking import OnDisk
from thalweg.store.stored import Documents, Stored
from thalweg.store.timings import StepTime, configuration, on_one_machine
from thalweg.trial import Trial
from thalweg.tuning.plan import TunedPlan, plan_of

IN_BENCHMARK, ADDED, NOT_EXPANDED = "yes", "added", "cannot be expanded"


@dataclass
class View:
    """A benchmark's results under the names that the pages show."""

    workloads: dict[str, Workload]
    seen: Observations
    """``trials`` has a column ``in_benchmark`` besides: yes, added, or cannot be expanded."""
    stored: Documents
    """By hash."""
    missing: list[str] = field(default_factory=list)
    """Titles of the trials that the benchmark asks for and that are not on disk."""
    elsewhere: int = 0
    """Trials on disk of workloads that the benchmark does not have."""
    problems: list[str] = field(default_factory=list)
    """Why the benchmark could not be expanded as a whole, one sentence each."""
    mixed: list[str] = field(default_factory=list)
    """What is left out since boards do not mix trials that were batched and trained alone, one sentence each."""
    plan: TunedPlan | None = None
    """The benchmark's plan with what its tuning found; None where there is no benchmark."""
    guessed: list[str] = field(default_factory=list)
    """Workloads whose metrics and target are derived from the curves, since their plugin is not here."""
    everything: Stored | None = None
    """What the rest is made from."""
    rescaled: list[str] = field(default_factory=list)
    """A sentence for each metric whose scale is not the one that its problem declares."""

    @cached_property
    def budgets(self) -> pd.DataFrame:
        """The leaderboard of each tuning budget."""
        return by_budget(self.plan, self.everything) if self.plan and self.everything else pd.DataFrame()

    @cached_property
    def over_all(self) -> OverAll | None:
        """The ranking over all workloads, where two and more have a target."""
        found = over_all(self.plan, self.seen) if self.plan and len(self.seen.trials) else None
        return found if found and len(found.workloads) > 1 else None

    @cached_property
    def stability(self) -> pd.DataFrame:
        """The leaderboard by stability, of what the benchmark asks for."""
        none = pd.DataFrame(columns=COLUMNS)
        return stability(self.plan, self.everything)[0] if self.plan and self.everything else none

    @property
    def optimizers(self) -> list[str]:
        """Every optimizer's label, sorted: the domain of colours on all pages."""
        return sorted(self.seen.trials["optimizer"].unique())


def make_view(
    benchmark: Benchmark | None,
    registry: Registry,
    stored: Stored,
    times: Mapping[str, list[StepTime]] | None = None,
) -> View:
    """Name every trial on disk.

    Trials of the benchmark's plan keep their names. Others whose workload is one of the plan's are added under the
    label that was recorded with them: as further seeds of an optimizer where all else is equal, and with the beginning
    of a hash after the label where an optimizer of that label has other settings. Where the benchmark cannot be
    expanded (``None``, or a plugin is not here) workloads are derived from what is on disk.
    """
    nothing: tuple[TunedPlan, list[str], OnDisk] = TunedPlan("", {}, []), [], OnDisk([], [])
    plan, problems, way = _plan(benchmark, registry, stored) if benchmark else nothing
    tuning = {planned.trial.hash for planned in plan.tuning}
    wanted = {planned.trial.hash: planned for planned in plan.trials}
    on_disk = stored.trials
    times = times or {}
    machine, _ = on_one_machine(times, on_disk["configuration"].tolist() if times else [])
    times = {key: [time for time in each if time.machine == machine] for key, each in times.items()}
    inside = observe(plan, stored, times)
    known = dict(plan.workloads)
    guessed = []
    for name in sorted(set(on_disk["workload"].unique()) - set(known)):
        if benchmark is None or name in benchmark.spec.workloads:
            known[name] = _guess(name, stored.only(on_disk["workload"] == name))
            guessed.append(name)
    named = wanted.keys() | tuning
    beside_plan = pd.Series([hash_ not in named for hash_ in stored.column("hash")], on_disk.index, dtype=bool)
    if benchmark is not None and benchmark.spec.tuning:
        # settings that were tried, though they would not be now, are no optimizers
        beside_plan &= on_disk["seed"] < TUNING_SEED
    # what does not count beside trials of the other kind is no optimizer of its own
    beside_plan &= ~on_disk["configuration"].isin(list(way.left_out))
    others = stored.only(beside_plan)
    beside = others.only(others.trials["workload"].isin(list(known)))
    added = observe_stored(replace(beside, trials=beside.trials.assign(optimizer=_labels(plan, beside.trials))), times)
    failed_labels = set(benchmark.spec.optimizers) - {planned.optimizer for planned in plan.trials} if benchmark else ()
    origin = added.trials["optimizer"].map(
        lambda label: NOT_EXPANDED if benchmark is None or label in failed_labels else ADDED
    )
    origin = origin.where(~added.trials["workload"].isin(guessed), NOT_EXPANDED)
    trials = [inside.trials.assign(in_benchmark=IN_BENCHMARK), added.trials.assign(in_benchmark=origin)]
    there = set(stored.column("hash"))
    curves = _together(inside.curves, added.curves)
    workloads = settled(known, curves)
    return View(
        workloads,
        Observations(
            pd.concat([part for part in trials if len(part)] or trials[:1], ignore_index=True),
            curves,
            timed_on=machine,
        ),
        stored.by_hash,
        [planned.title for planned in (*plan.tuning, *plan.trials) if planned.trial.hash not in there],
        len(others.trials) - len(beside.trials),
        problems,
        way.notes,
        plan if benchmark else None,
        guessed,
        stored,
        changes(known, workloads),
    )


def _together(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of both; what are categories in both stay so."""
    if one.empty or other.empty:
        return one if other.empty else other
    parts = [one, other]
    for name in one.columns[[isinstance(kind, pd.CategoricalDtype) for kind in one.dtypes]]:
        union = one[name].cat.categories.union(other[name].cat.categories)
        parts = [part.assign(**{name: part[name].cat.set_categories(union)}) for part in parts]
    return pd.concat(parts, ignore_index=True)


def _plan(benchmark: Benchmark, registry: Registry, stored: Stored) -> tuple[TunedPlan, list[str], OnDisk]:
    """The plan for the device that results come from, why it is not whole, and which kinds of trials it takes."""
    there = set(stored.column("hash"))
    found = []
    for device in stored.devices:
        way = stored.way()
        plan, reasons = _expand(benchmark, registry, Selection(device=device, stacks=way), stored)
        found.append((plan, reasons, way))
    return max(found, key=lambda one: sum(planned.trial.hash in there for planned in one[0].trials))


def _expand(
    benchmark: Benchmark, registry: Registry, selection: Selection, stored: Stored
) -> tuple[TunedPlan, list[str]]:
    """The whole plan; else what expands of it, one workload and optimizer at a time, with the reasons for the rest."""
    try:
        return plan_of(benchmark, registry, selection, stored), []
    except TooMuch as error:
        # a part of it may be as much: what is on disk is shown by itself
        return TunedPlan(benchmark.name, {}, []), [str(error)]
    except UserError as error:
        reasons = [str(error)]
    plan = TunedPlan(benchmark.name, {}, [])
    spec = benchmark.spec
    for workload in spec.workloads:
        for optimizer in spec.optimizers:
            # probes are left out: they do not change a trial, and theirs may be the plugin that is not here
            part = spec.model_copy(
                update={
                    "workloads": {workload: spec.workloads[workload]},
                    "optimizers": {optimizer: spec.optimizers[optimizer]},
                    "probes": {},
                }
            )
            try:
                expanded = plan_of(replace(benchmark, spec=part), registry, selection, stored)
            except UserError as error:
                reasons.append(str(error))
            else:
                plan.workloads |= expanded.workloads
                plan.trials += expanded.trials
                plan.tuning += expanded.tuning
                plan.outcomes += expanded.outcomes
    return plan, list(dict.fromkeys(reasons))


def _labels(plan: Plan, trials: pd.DataFrame) -> list[str]:
    """A label for each trial; trials that differ in more than their seed never share one within a workload."""
    first: dict[tuple[str, str], Trial] = {}
    for planned in plan.trials:
        first.setdefault((planned.workload, planned.optimizer), planned.trial)
    planned_at_zero = {key: configuration(trial) for key, trial in first.items()}
    names = list(zip(trials["workload"], trials["optimizer"], strict=True))
    groups: dict[tuple[str, str], set[str]] = {}
    for key, at_zero in zip(names, trials["configuration"], strict=True):
        groups.setdefault(key, set()).add(at_zero)
    labels = []
    for key, at_zero in zip(names, trials["configuration"], strict=True):
        plain = at_zero == planned_at_zero[key] if key in planned_at_zero else len(groups[key]) == 1
        labels.append(key[1] if plain else f"{key[1]} [{at_zero[:6]}]")
    return labels


def _guess(name: str, stored: Stored) -> Workload:
    """What can be known of a workload without its problem: every problem reports a loss, and a loss is minimised."""
    trials = stored.trials
    table = stored.curves(["split", "metric", "value"], trials.index[trials["status"] != "failed"])
    losses = table.loc[table["metric"] == "loss", "value"]
    loss = Metric("loss", "lower", "log" if (losses > 0).all() else "linear")
    return Workload(
        name,
        (loss,),
        metric=loss,
        split="test" if (table["split"] == "test").any() else "train",
        target=None,
        target_split="train",
        target_metric=None,
    )
