"""What a page shows of a comparison of two sides besides its verdicts: charts, settings, curves and the command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from thalweg.present.asked_comparison import Question
from thalweg.present.charts.axes import Layers
from thalweg.present.charts.differences import difference_chart, is_ratio
from thalweg.present.comparison import Comparison
from thalweg.present.curves import mean_curves
from thalweg.present.settings import Differences, Settings, differences, settings_of
from thalweg.present.sides import Side
from thalweg.present.table import Column, Table
from thalweg.present.verdicts import HEADINGS
from thalweg.scoring.compare import NOTHING, Pair
from thalweg.scoring.observations import EVERYTHING

CAPTION = (
    "The band is the margin: differences inside it are none. The interval has the level of the test that decided the "
    "row; an arrow says that it goes on beyond the chart, and an infinite difference has no point."
)


_COLUMNS = ("workload", "optimizer", "metric", "verdict", "difference", "interval", "baseline", "candidate", "note")


def verdicts(found: Comparison) -> Table:
    """The rows that were compared, as ``thalweg compare`` writes them; the optimizer where there are several."""
    rows = [row for row in _texts(found) if row["verdict"] != NOTHING]
    several = len({row["optimizer"] for row in rows}) > 1
    return Table([_column(name) for name in _COLUMNS if several or name != "optimizer"], rows)


def not_compared(found: Comparison) -> Table:
    """The rows that were not compared, with the reasons."""
    rows = [row for row in _texts(found) if row["verdict"] == NOTHING]
    return Table([_column(name) for name in ("workload", "optimizer", "metric", "note")], rows)


def _texts(found: Comparison) -> list[dict[str, str]]:
    headings = [heading or "note" for heading in HEADINGS]
    return [dict(zip(headings, cells, strict=True)) for cells in found.shown]


def _column(name: str) -> Column:
    return Column(name, name, lambda row: row[name], kind="text", width=380 if name == "note" else None)


def charts(found: Comparison) -> dict[str, Layers]:
    """A chart of the differences for each metric, by its name."""
    compared = [row for row in found.rows if row["verdict"] != NOTHING]
    pairs = len({(row["against"], row["optimizer"]) for row in compared})
    drawn = {}
    # a metric may be tested on ratios on one workload, and not on another one where it has negative values
    kinds = dict.fromkeys((row["metric"], is_ratio(row)) for row in compared)
    for metric, ratio in sorted(kinds, key=lambda kind: not kind[1]):
        rows = [row for row in compared if (row["metric"], is_ratio(row)) == (metric, ratio)]
        unit = found.units.get((rows[0]["workload"], metric), "")
        name = metric if ratio or metric not in drawn else f"{metric}, no ratios"
        if (chart := difference_chart(rows, unit, pairs, name)) is not None:
            drawn[name] = chart
    return drawn


def common(before: Side, after: Side) -> dict[str, list[Pair]]:
    """The pairs of optimizers of which both sides have trials, by workload."""
    there = [
        set(zip(side.seen.trials["workload"], side.seen.trials["optimizer"], strict=True)) for side in (before, after)
    ]
    labels = dict.fromkeys(one.optimizer for side in (before, after) for one in side.plan.trials)
    pairs = [Pair(label, label) for label in labels]
    if before.optimizer is not None and after.optimizer is not None:
        pairs = [Pair(before.optimizer, after.optimizer)]
    found = {
        name: [pair for pair in pairs if (name, pair.baseline) in there[0] and (name, pair.candidate) in there[1]]
        for name in before.plan.workloads
    }
    return {name: both for name, both in found.items() if both}


def left_out(found: Comparison, workload: str, pair: Pair) -> str:
    """Why no row of a pair of optimizers was compared on a workload; empty where one was."""
    rows = [row for row in found.rows if (row["workload"], row["against"], row["optimizer"]) == (workload, *pair)]
    reasons = dict.fromkeys(row["note"] for row in rows if row["verdict"] == NOTHING)
    return "; ".join(reasons) if all(row["verdict"] == NOTHING for row in rows) else ""


def differing(before: Side, after: Side) -> Differences:
    """The settings that differ between the first trials of each pair, seeds left out."""
    pairs = []
    for workload, both in common(before, after).items():
        for pair in both:
            baseline = _settings(before, workload, pair.baseline)
            candidate = _settings(after, workload, pair.candidate)
            if baseline is not None and candidate is not None:
                name = workload if before.optimizer is not None else f"{workload} · {pair.candidate}"
                pairs.append((name, baseline, candidate))
    return differences(pairs)


def _settings(side: Side, workload: str, optimizer: str) -> Settings | None:
    """The settings of an optimizer's first trial on a workload; None where it has gone."""
    trials = side.seen.trials
    mine = trials[(trials["workload"] == workload) & (trials["optimizer"] == optimizer)].sort_values("seed")
    if side.seen.source is None or mine.empty:
        return None
    stored = side.seen.source.stored.by_hash.get(str(mine.iloc[0]["hash"]))
    return settings_of(stored.document, side.plan.workloads.get(workload), seed=False) if stored else None


def curves(side: Side, workload: str, optimizer: str) -> pd.DataFrame:
    """All rows of an optimizer's curves on a workload."""
    if side.seen.source is None:
        return pd.DataFrame()
    return side.seen.source.read(EVERYTHING, workload=workload, optimizer=optimizer)


def both_means(parts: Sequence[tuple[str, pd.DataFrame]], metric: str, split: str, log: bool) -> pd.DataFrame:
    """The mean curves of both sides, each under its label."""
    means = [mean_curves(part.assign(optimizer=label), metric, split, log) for label, part in parts]
    return pd.concat([one for one in means if len(one)] or means[:1], ignore_index=True)


def command(baseline: str, candidate: str, question: Question, plugins: Sequence[str | Path] = ()) -> str:
    """The command line that prints the comparison.

    >>> command("before", "after:adam", Question("loss", ("1pp",), paired=False))
    'thalweg compare before after:adam --metric loss --margin 1pp --unpaired'
    """
    words = ["thalweg", "compare", baseline, candidate]
    words += ["--metric", question.metric] if question.metric else []
    words += [word for margin in question.margins for word in ("--margin", margin)]
    words += [] if question.paired else ["--unpaired"]
    words += [word for path in plugins for word in ("--plugin", str(path))]
    return shlex.join(words)
