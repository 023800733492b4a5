"""Compares two sides: verdicts, and what is to be said beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from thalweg.contracts import Metric
from thalweg.contracts.option import resolve
from thalweg.exit_codes import ExitCode
from thalweg.plan import Workload, pairs_of
from thalweg.present.sentences import not_known
from thalweg.present.sides import Side
from thalweg.present.verdicts import cells, headline, ordered
from thalweg.registry import Registry
from thalweg.scoring.compare import Pair, Terms, compare, overall
from thalweg.scoring.measures import read_of
from thalweg.scoring.observations import Wanted
from thalweg.scoring.outcomes import compared_metrics, outcomes
from thalweg.scoring.scales import changes, settled
from thalweg.scoring.targets import targets_of

CODES = {
    "better": ExitCode.DONE,
    "same": ExitCode.DONE,
    "worse": ExitCode.FAILED,
    "undecided": ExitCode.UNDECIDED,
}
_BITS = Wanted(["step", "split", "metric", "value"])


@dataclass
class Comparison:
    """A comparison for people and programs."""

    rows: list[dict[str, Any]]
    """The rows of ``compare``, the worst first."""
    sides: tuple[str, str]
    """The texts that name the sides."""
    units: dict[tuple[str, str], str]
    """The unit of each metric, by workload and metric."""
    notes: list[str]
    environments: dict[str, list[str]]

    @property
    def verdict(self) -> str:
        """The verdict of all rows."""
        return overall(row["verdict"] for row in self.rows)

    @property
    def title(self) -> str:
        """The verdict, both sides, and how many rows have each verdict."""
        return headline(self.verdict, [row["verdict"] for row in self.rows], *self.sides)

    @property
    def shown(self) -> list[list[str]]:
        """The cells of the rows."""
        return [cells(row, self.units.get((row["workload"], row["metric"]), "")) for row in self.rows]

    def code(self, allow_undecided: bool = False) -> ExitCode:
        """The exit code. Undecided counts as done where that is allowed."""
        if self.verdict == "undecided" and allow_undecided:
            return ExitCode.DONE
        return CODES.get(self.verdict, ExitCode.NOTHING)


def compare_sides(before: Side, after: Side, registry: Registry, metric: str | None, terms: Terms) -> Comparison:
    """Compare two sides on ``terms``, to which this adds what the sides' benchmarks say; the sides stay as they are.

    Raises:
        UserError: no workload has the metric.
    """
    before, after = (replace(side, plan=replace(side.plan)) for side in (before, after))
    differences = _environments(before, after)
    declared = before.plan.workloads | after.plan.workloads
    for side in (before, after):
        for other in (before, after):  # so that both sides have one scale
            side.plan.workloads = settled(side.plan.workloads, other.seen.curves, metric)
    workloads = before.plan.workloads | after.plan.workloads
    metrics = compared_metrics(workloads, metric)
    pairs = _pairs(before, after)
    baseline, candidate = (
        outcomes(side.seen, side.plan.workloads, {k: v for k, v in metrics.items() if k in side.plan.workloads})
        for side in (before, after)
    )
    terms = replace(
        terms,
        excluded={
            (name, pair): reason
            for name in metrics
            for pair in pairs
            if (reason := _excluded(before, after, name, pair))
        },
        equal=[
            (name, pair) for name in metrics for pair in pairs if _equal(before, after, name, pair, baseline, candidate)
        ],
        easiest=_easiest(workloads),
        examples=_examples(before, metrics, registry),
    )
    table = compare(baseline, candidate, metrics, pairs, terms)
    sides = {"the baseline": before, "the candidate": after}
    first, second = before.stacked, after.stacked
    differing = [f"{pair[0]} · {pair[1]}" for pair in first.keys() & second.keys() if first[pair] != second[pair]]
    if differing:
        differences.append(f"batched on one side and trained alone on the other: {', '.join(sorted(differing))}")
    notes = [
        *differences,
        *_other_terms(before, after, metrics, pairs),
        *changes(declared, workloads),
        *(note for name, side in sides.items() for note in _notes(side, name, terms.paired)),
    ]
    units = {(name, metric.name): metric.unit for name, chosen in metrics.items() for metric in chosen}
    ran_on = {name.split()[1]: sorted(side.seen.trials["ran_on"].unique()) for name, side in sides.items()}
    return Comparison(ordered(records(table)), (before.text, after.text), units, notes, ran_on)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _pairs(before: Side, after: Side) -> list[Pair]:
    if before.optimizer is not None and after.optimizer is not None:
        return [Pair(before.optimizer, after.optimizer)]
    labels = dict.fromkeys(one.optimizer for side in (before, after) for one in side.plan.trials)
    return [Pair(label, label) for label in labels]


def _excluded(before: Side, after: Side, workload: str, pair: Pair) -> str:
    """Why a pair is not compared on a workload; empty where it is."""
    if not (workload in before.plan.workloads and workload in after.plan.workloads):
        return ""
    if before.asked(workload) != after.asked(workload):
        return "the workload's definition is another one"
    if pair.baseline != pair.candidate:
        return ""  # a benchmark may give each optimizer terms of its own
    names = _differing(before, after, workload, pair)
    return f"the optimizer's {' and '.join(names)} on the workload is another one" if names else ""


def _differing(before: Side, after: Side, workload: str, pair: Pair) -> list[str]:
    ours, theirs = before.terms(workload, pair.baseline), after.terms(workload, pair.candidate)
    return [name for name in ours if theirs and ours[name] != theirs[name]]


def _other_terms(before: Side, after: Side, metrics: Mapping[str, object], pairs: Sequence[Pair]) -> list[str]:
    """A sentence for each two optimizers whose benchmark gives them other terms on a workload."""
    return [
        f"{name}: {pair.candidate} has another {' and '.join(names)} than {pair.baseline}"
        for name in metrics
        for pair in pairs
        if pair.baseline != pair.candidate and (names := _differing(before, after, name, pair))
    ]


def _equal(
    before: Side, after: Side, workload: str, pair: Pair, baseline: pd.DataFrame, candidate: pd.DataFrame
) -> bool:
    """Whether all curves of a workload are equal to the bit on both sides, at every seed that both ran."""
    sides = []
    for table, optimizer in ((baseline, pair.baseline), (candidate, pair.candidate)):
        mine = table[(table["workload"] == workload) & (table["optimizer"] == optimizer)]
        sides.append(mine.set_index(["metric", "seed"])[["finished", "value"]])
    common = sides[0].index.intersection(sides[1].index)
    # outcomes that differ spare the reading of all curves
    if not len(common) or not sides[0].loc[common].equals(sides[1].loc[common]):
        return False
    if not sides[0].loc[common, "finished"].any():
        return False
    curves = []
    for side, optimizer in ((before, pair.baseline), (after, pair.candidate)):
        if side.seen.source is None:
            return False
        rows = side.seen.source.read(_BITS, workload=workload, optimizer=optimizer)
        rows = rows[rows["seed"].isin(common.get_level_values("seed"))].drop(columns="optimizer")
        rows = rows.sort_values(["seed", "step", "split", "metric"], kind="stable", ignore_index=True)
        curves.append(rows.astype({"workload": str, "split": str, "metric": str}))
    return bool(curves[0].equals(curves[1]))


def _easiest(workloads: Mapping[str, Workload]) -> dict[tuple[str, str], float]:
    """The easiest level of each workload's target metric: who ends beyond it has collapsed."""
    levels = {name: targets_of(workload) for name, workload in workloads.items()}
    return {
        (name, metric.name): levels[name][-1]
        for name, workload in workloads.items()
        if len(levels[name]) > 1 and (metric := workload.target_metric) is not None
    }


def _examples(side: Side, metrics: Mapping[str, list[Metric]], registry: Registry) -> dict[tuple[str, str], int]:
    """The examples in the split from which each metric in percent is read, where they are known."""
    found: dict[tuple[str, str], int] = {}
    trials = {name: trial for (name, _), trial in pairs_of(side.plan.trials).items()}
    for name, chosen in metrics.items():
        workload, trial = side.plan.workloads.get(name), trials.get(name)
        if workload is None or trial is None or workload.known is not None:
            continue  # nobody here knows the data of imported curves
        problem = registry.problem(trial.problem.name)
        options = resolve(problem.options, trial.problem.settings, trial.problem.name)
        if problem.shape(options).task == "language":
            continue  # its fractions are of tokens
        sizes: dict[str, int] = {str(split): count for split, count in problem.sizes(options).items()}
        held_out = round(trial.validation_fraction * sizes.get("train", 0))
        sizes |= {"train": sizes.get("train", 0) - held_out, "valid": held_out}
        for metric in chosen:
            (_, split), *_ = read_of(workload, metric.name) or [("", "")]
            if metric.unit == "%" and sizes.get(split):
                found[name, metric.name] = sizes[split]
    return found


def _environments(before: Side, after: Side) -> list[str]:
    """A sentence on different machines or versions of the two sides."""
    ran_on = [sorted(side.seen.trials["ran_on"].unique()) for side in (before, after)]
    if all(ran_on) and ran_on[0] != ran_on[1]:
        told = f"the baseline on {' and '.join(ran_on[0])}; the candidate on {' and '.join(ran_on[1])}"
        return [f"different machines or versions: {told}"]
    return []


def _notes(side: Side, name: str, paired: bool) -> list[str]:
    found = []
    if side.missing and paired:
        count = f"{side.missing} trial{'' if side.missing == 1 else 's'} of {name}"
        found.append(f"{count} {'is' if side.missing == 1 else 'are'} not there: only seeds of both sides are compared")
    if not side.plan.settled:
        found.append(f"{name} has not tried all its settings yet: workloads that wait for them are left out")
    if side.others:
        count = f"{side.others} trial{'' if side.others == 1 else 's'} of {name}"
        found.append(
            f"{count} {'was' if side.others == 1 else 'were'} trained by other versions of plugins than those here"
        )
    found += [f"{name}: {note}" for note in side.mixed]
    if side.benchmark.spec.imported is not None:
        found.append(f"{name} was imported: {not_known()}")
    found += [f"left out of {name}, since its curve cannot be read: {reason}" for reason in side.seen.unreadable]
    return found
