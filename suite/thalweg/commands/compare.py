"""``thalweg compare``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg.commands.sides import Side, read_side
from thalweg.console import print_json, print_lines, print_table, warn_of_failures
from thalweg.errors import UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.present.verdicts import HEADINGS, cells, headline, junit, ordered, section
from thalweg.registry import load_registry
from thalweg.scoring.compare import Margins, Pair, compare, overall
from thalweg.scoring.measures import SECONDS, ranking_metric
from thalweg.scoring.outcomes import compared_metrics, outcomes
from thalweg.scoring.scales import changes, settled
from thalweg.shown import cut

FORMATS = ("table", "markdown", "json", "junit")
CODES = {"better": ExitCode.DONE, "same": ExitCode.DONE, "worse": ExitCode.FAILED}


@dataclass(frozen=True)
class CompareOptions:
    """What ``thalweg compare`` is asked for."""

    baseline: str
    """A results folder, or FOLDER:OPTIMIZER."""
    candidate: str
    benchmark: str | None = None
    """Which benchmark, where a folder has results of several."""
    metric: str | None = None
    """The only metric or cost to compare."""
    margins: tuple[str, ...] = ()
    """Margins within which sides are the same, such as ``1pp`` and ``10%``."""
    different_machines: bool = False
    """Whether seconds of different machines may be compared."""
    format: str = "table"
    plugin_files: tuple[Path, ...] = ()


def compare_command(options: CompareOptions) -> ExitCode:
    """Print whether the candidate is worse; ``FAILED`` if it is, ``NOTHING`` where nothing was compared."""
    if options.format not in FORMATS:
        raise UserError(f"--format: {unknown('format', options.format, FORMATS)}")
    baseline, candidate, metric = options.baseline, options.candidate, options.metric
    margins = parse_margins(options.margins)
    registry = load_registry(options.plugin_files)
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    before = read_side(baseline, "BASELINE", options.benchmark, registry, metric)
    after = read_side(candidate, "CANDIDATE", options.benchmark, registry, metric)
    if (before.optimizer is None) != (after.optimizer is None):
        raise UserError("name an optimizer in BASELINE and in CANDIDATE, or in neither: FOLDER:OPTIMIZER")
    differences = _environments(before, after)
    if metric == SECONDS.name and differences and not options.different_machines:
        raise UserError(f"--metric {metric}: {'; '.join(differences)}. --allow-different-machines compares them anyway")
    declared = before.plan.workloads | after.plan.workloads
    for side in (before, after):
        for other in (before, after):  # so that both sides have one scale
            side.plan.workloads = settled(side.plan.workloads, other.seen.curves, metric)
    workloads = before.plan.workloads | after.plan.workloads
    metrics = compared_metrics(workloads, metric)
    table = compare(
        outcomes(before.seen, before.plan.workloads, {k: v for k, v in metrics.items() if k in before.plan.workloads}),
        outcomes(after.seen, after.plan.workloads, {k: v for k, v in metrics.items() if k in after.plan.workloads}),
        metrics,
        _pairs(before, after),
        margins,
        {
            name: "the workload's definition is another one"
            for name in before.plan.workloads.keys() & after.plan.workloads.keys()
            if before.asked(name) != after.asked(name)
        },
    )
    verdict = overall(table)
    sides = {"the baseline": before, "the candidate": after}
    first, second = before.stacked, after.stacked
    differing = [f"{pair[0]} · {pair[1]}" for pair in first.keys() & second.keys() if first[pair] != second[pair]]
    if differing:
        differences.append(f"batched on one side and trained alone on the other: {', '.join(sorted(differing))}")
    notes = [
        *differences,
        *changes(declared, workloads),
        *(note for name, side in sides.items() for note in _notes(side, name)),
    ]
    if metric == SECONDS.name:
        untimed = [name for name, side in sides.items() if not side.seen.timed_on]
        notes += [f"no step of {name} was timed: 'thalweg run BENCHMARK --timed' does it" for name in untimed]
    rows = ordered(table)
    ranked = [ranking_metric(workloads[row["workload"]], row["metric"]) for row in rows]
    shown = [cells(row, one.unit if one else "") for row, one in zip(rows, ranked, strict=True)]
    title = headline(verdict, table, baseline, candidate)
    match options.format:
        case "json":
            ran_on = {name.split()[1]: sorted(side.seen.trials["ran_on"].unique()) for name, side in sides.items()}
            print_json({"verdict": verdict, "rows": rows, "environments": ran_on, "notes": notes})
        case "junit":
            print_lines(junit(after.benchmark.name, rows, shown, notes))
        case "markdown":
            print_lines(section(title, shown, notes))
        case _:
            print_table(title, HEADINGS, shown, right=HEADINGS[3:7])
            print_table("", [""], [[note] for note in notes])
    return CODES.get(verdict, ExitCode.NOTHING)


def parse_margins(texts: Sequence[str]) -> Margins:
    """Parse ``1pp`` (percentage points) and ``10%`` (a share of the baseline's value)."""
    margins = Margins()
    for text in texts:
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(pp|%)\s*", text)
        if found is None:
            what = "give percentage points of accuracies, as 1pp, or a share of costs and losses, as 10%"
            raise UserError(f"--margin {cut(text)}: {what}")
        value = float(found[1]) / 100
        margins = Margins(value, margins.relative) if found[2] == "pp" else Margins(margins.points, value)
    return margins


def _pairs(before: Side, after: Side) -> list[Pair]:
    if before.optimizer is not None and after.optimizer is not None:
        return [Pair(before.optimizer, after.optimizer)]
    labels = dict.fromkeys(one.optimizer for side in (before, after) for one in side.plan.trials)
    return [Pair(label, label) for label in labels]


def _environments(before: Side, after: Side) -> list[str]:
    """Sentences on different machines or versions of the two sides."""
    found = []
    ran_on = [sorted(side.seen.trials["ran_on"].unique()) for side in (before, after)]
    if all(ran_on) and ran_on[0] != ran_on[1]:
        told = f"the baseline on {' and '.join(ran_on[0])}; the candidate on {' and '.join(ran_on[1])}"
        found.append(f"different machines or versions: {told}")
    timed = [side.seen.timed_on for side in (before, after)]
    if all(timed) and timed[0] != timed[1]:
        found.append(
            f"steps were timed on different machines: the baseline's on {timed[0]}, the candidate's on {timed[1]}"
        )
    return found


def _notes(side: Side, name: str) -> list[str]:
    found = []
    if side.missing:
        found.append(f"{side.missing} trials of {name} are not there: their seeds are not compared")
    if not side.plan.settled:
        found.append(f"{name} has not tried all its settings yet: workloads that wait for them are left out")
    if side.others:
        found.append(f"{side.others} trials of {name} were trained by other versions of plugins than those here")
    found += [f"{name}: {note}" for note in side.mixed]
    found += [f"left out of {name}, since its curve cannot be read: {reason}" for reason in side.seen.unreadable]
    return found
