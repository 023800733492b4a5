"""The columns of a leaderboard, each with its heading, number format, unit and tooltip.

The command line's tables, Markdown, the app and the report take their columns from ``columns``. JSON and CSV hold the
columns of ``thalweg.scoring.leaderboard.COLUMNS``. A new column of a known statistic is one entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.present.curves import Sparklines
from thalweg.present.numbers import WHOLE, format_of, interval, ranks, significant
from thalweg.present.sentences import OPEN_RANKS
from thalweg.present.table import Column, Table, table
from thalweg.present.view import IN_BENCHMARK
from thalweg.scoring.measures import STABILITY, is_to_target, where_read


@dataclass(frozen=True)
class Board:
    """The rows of a leaderboard for one workload, and the metric that ranks them."""

    rows: pd.DataFrame
    """Columns as ``thalweg.scoring.leaderboard.COLUMNS``."""
    workload: Workload
    metric: Metric
    trials: pd.DataFrame | None = None
    """The workload's trials, with a column ``in_benchmark``, where the table tells which trials were added."""
    curves: Sparklines | None = None
    """The workload's mean curves, where the table has sparklines."""

    @property
    def title(self) -> str:
        """Workload, metric, where the metric is read, and target."""
        where = where_read(self.workload, self.metric)
        what = f"{self.metric.name} ({where})" if where else self.metric.name
        target = self.workload.target
        aim = f"; target: {self.workload.target_split} {target.metric} {target.value:g}" if target else ""
        return f"{self.workload.name}: {what}{aim}"

    @property
    def remark(self) -> str:
        """What the ranks of these rows mean, and whose value is a mean over fewer seeds than it has; one line."""
        rows, told = self.rows, []
        if (rows["rank_low"] < rows["rank_high"]).any():
            told.append(f"Ranks joined by a dash are {OPEN_RANKS}.")
        lost = rows["diverged"] + rows["failed"]
        if self.metric.name == STABILITY.name or rows.empty:
            return " ".join(told)
        if is_to_target(self.metric):
            if (rows["reached"] < rows["seeds"]).any():
                told.append(
                    "Optimizers that lost a smaller share of their seeds rank first. A seed is lost where it diverged, "
                    "failed or never reached the target, and a value needs every seed."
                )
        elif lost.any():
            seeds = zip(rows["optimizer"], rows["seeds"] - lost, rows["seeds"], strict=True)
            of = ", ".join(f"{name} {left} of {all_}" for name, left, all_ in seeds if left < all_)
            told.append(
                "Optimizers that lost a smaller share of their seeds rank first, whatever their values. "
                f"A seed that diverged or failed has no value, so the means are over fewer seeds: {of}."
            )
        return " ".join(told)

    @property
    def table(self) -> Table:
        """The table that is shown."""
        return table(columns(self), self.rows)


def columns(board: Board) -> list[Column]:
    """Every column of a leaderboard, in order."""
    metric, workload, rows = board.metric, board.workload, board.rows
    form = format_of(metric.unit)
    stability = metric.name == STABILITY.name
    origins = _origins(board.trials)
    lines = Sparklines("", {}) if board.curves is None else board.curves
    return [
        Column(
            "rank",
            "rank",
            lambda row: ranks(row["rank_low"], row["rank_high"]),
            help=OPEN_RANKS,
            width=50,
            pinned=True,
        ),
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column(
            "in_benchmark",
            "in benchmark",
            lambda row: origins[row["optimizer"]],
            kind="text",
            help="added: not in the benchmark's grid, but run with --with or with other settings",
            width=100,
            when=any(origin != IN_BENCHMARK for origin in origins.values()),
        ),
        Column(
            "value",
            metric.name.replace("_", " "),
            lambda row: row["value"],
            form,
            width=75 if metric is workload.metric else 150,
        ),
        Column("interval", "95% interval", lambda row: interval(row["low"], row["high"], form), width=150),
        Column(
            "curve",
            lines.heading,
            lambda row: lines.lines.get(row["optimizer"], []),
            kind="sparkline",
            help="mean over seeds at the evaluations during training; all rows have one scale",
            width=125,
            when=board.curves is not None,
        ),
        Column("seeds", "trials" if stability else "seeds", lambda row: row["seeds"], width=50),
        Column(
            "reached",
            "reached",
            lambda row: f"{row['reached']} of {row['seeds']}",
            help="the trials that reached the target",
            width=65,
            when=workload.target is not None,
        ),
        Column(
            "steps_to_target",
            "steps to target",
            lambda row: row["steps_to_target"],
            WHOLE,
            help="geometric mean over seeds, where every seed reached the target",
            width=105,
            when=workload.target is not None and not stability,
        ),
        Column(
            "seconds_to_target",
            "seconds to target",
            lambda row: row["seconds_to_target"],
            significant(3),
            help="steps to target times the seconds of a step, as 'thalweg run --timed' measured them",
            width=120,
            when=bool(rows["seconds_to_target"].notna().any()) and not stability,
        ),
        Column("diverged", "diverged", lambda row: row["diverged"], width=65, when=bool(rows["diverged"].any())),
        Column("failed", "failed", lambda row: row["failed"], width=50, when=bool(rows["failed"].any())),
    ]


def _origins(trials: pd.DataFrame | None) -> dict[str, str]:
    """Whether the benchmark's grid holds each optimizer: yes where it holds one of the optimizer's trials."""
    if trials is None:
        return {}
    groups = trials.groupby("optimizer")["in_benchmark"]
    return {str(label): IN_BENCHMARK if (part == IN_BENCHMARK).any() else str(part.iloc[0]) for label, part in groups}
