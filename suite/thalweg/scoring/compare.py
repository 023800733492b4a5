"""Is the candidate worse than the baseline? A verdict for each workload, optimizer and metric, and one for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.scoring.intervals import t_interval
from thalweg.scoring.measures import is_to_target
from thalweg.scoring.outcomes import Metrics
from thalweg.scoring.paired import MIN_SEEDS, Array, judge

NOTHING = "nothing compared"
COLUMNS = [
    "workload",
    "optimizer",
    "against",
    "metric",
    "baseline",
    "candidate",
    "difference",
    "low",
    "high",
    "verdict",
    "relative",
    "margin",
    "seeds",
    "lost",
    "gained",
    "note",
]


@dataclass(frozen=True)
class Margins:
    """The margins: differences up to a margin count as the same."""

    points: float = 0.01
    """For fractions that are shown in percent: an absolute margin, where 0.01 is one percentage point."""
    relative: float = 0.10
    """For costs and losses: a share of the baseline's value."""


@dataclass
class _Row:
    """A workload, optimizer and metric, before the verdict."""

    workload: str
    metric: Metric
    optimizer: str
    against: str
    seeds: int = 0
    baseline: float = math.nan
    candidate: float = math.nan
    losses: list[float] = field(default_factory=list)
    margin: float = 0.0
    """The margin on the scale of ``losses``."""
    log: bool = False
    relative: bool = False
    lost: int = 0
    gained: int = 0
    note: str = ""

    def natural(self, loss: float) -> float:
        """A loss as a difference, candidate minus baseline, or as a relative difference."""
        difference = loss if self.metric.better == "lower" else 0.0 - loss
        if self.log and math.isfinite(difference):
            return math.expm1(min(difference, 700.0))
        return -1.0 if self.log and difference == -math.inf else difference


class Pair(NamedTuple):
    """The names of two optimizers: the baseline's and the candidate's."""

    baseline: str
    candidate: str


def compare(
    baseline: pd.DataFrame,
    candidate: pd.DataFrame,
    metrics: Metrics,
    pairs: Sequence[Pair],
    margins: Margins | None = None,
    excluded: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """A row for each workload, pair of optimizers and metric, with ``COLUMNS``.

    Seeds that both sides ran are paired. The loss at a seed is how much worse the candidate is. For fractions in
    percent it is the difference. For metrics with a log scale whose values are all positive it is log(candidate /
    baseline). For other metrics it is the difference as a share of the baseline's mean. All rows are tested together;
    see ``paired.judge``.

    A seed that diverged or failed has no value, and never reaches the target. ``lost`` counts the seeds at which only
    the baseline finished, and ``gained`` the seeds at which only the candidate finished. A metric's row is worse if the
    candidate lost more seeds than it gained, whatever the other seeds say. In a row of costs, the seeds at which only
    the baseline reaches the target are lost; they enter the test.

    ``difference``, ``low`` and ``high`` are candidate minus baseline, divided by the baseline where ``relative``.

    Args:
        baseline: the baseline's outcomes, from ``outcomes.outcomes``.
        candidate: the candidate's outcomes.
        metrics: the metrics that are compared, by workload.
        pairs: the pairs of optimizers that are compared.
        margins: the differences that count as the same.
        excluded: why a workload is not compared, by workload.
    """
    reasons = excluded or {}
    wanted = [(workload, pair, metric) for workload, all_ in metrics.items() for pair in pairs for metric in all_]
    rows = [
        row
        for workload, pair, metric in wanted
        if (row := _row(baseline, candidate, workload, metric, pair, margins or Margins(), reasons.get(workload, "")))
    ]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    most = max(1, *(len(row.losses) for row in rows))
    losses = np.array([row.losses + [math.nan] * (most - len(row.losses)) for row in rows])
    found = judge(losses, np.array([row.margin for row in rows]))
    return pd.DataFrame(
        [_finished(row, *parts) for row, *parts in zip(rows, *found, losses, strict=True)], columns=COLUMNS
    )


def overall(table: pd.DataFrame) -> str:
    """Worse if a row is worse, else better if a row is better, else same; nothing compared without rows."""
    verdicts = set(table["verdict"])
    return next((verdict for verdict in ("worse", "better", "same") if verdict in verdicts), NOTHING)


def _row(
    baseline: pd.DataFrame,
    candidate: pd.DataFrame,
    workload: str,
    metric: Metric,
    pair: Pair,
    margins: Margins,
    excluded: str,
) -> _Row | None:
    """The row of a metric; None where neither side has a trial."""

    def of(table: pd.DataFrame, optimizer: str) -> pd.DataFrame:
        mine = (table["workload"] == workload) & (table["metric"] == metric.name) & (table["optimizer"] == optimizer)
        return table.loc[mine, ["seed", "finished", "value"]].drop_duplicates("seed")

    before, after = of(baseline, pair.baseline), of(candidate, pair.candidate)
    if before.empty and after.empty:
        return None
    row = _Row(workload, metric, pair.candidate, pair.baseline, note=excluded)
    both = before.merge(after, on="seed", suffixes=("_before", "_after"))
    if before.empty or after.empty:
        row.note = f"not in the {'baseline' if before.empty else 'candidate'}"
    elif both.empty:
        row.note = "no seed in common"
    if row.note:
        return row
    b, c = both["value_before"].to_numpy(dtype=float), both["value_after"].to_numpy(dtype=float)
    there_b, there_c = np.isfinite(b), np.isfinite(c)
    row.seeds, row.lost, row.gained = len(both), int((there_b & ~there_c).sum()), int((there_c & ~there_b).sum())
    log = metric.scale == "log" and not bool((np.concatenate([b, c]) < 0).any())
    row.baseline, row.candidate = _value(b, metric, log), _value(c, metric, log)
    _measure(row, b, c, margins)
    return row


def _value(values: Array, metric: Metric, log: bool) -> float:
    """The value as in the leaderboard: the mean over finished seeds; nan if a seed never reaches the target."""
    if is_to_target(metric) and not np.isfinite(values).all():
        return math.nan
    return t_interval(list(values[np.isfinite(values)]), log=log).value


def _measure(row: _Row, b: Array, c: Array, margins: Margins) -> None:
    """The losses of a row, and the margin on their scale."""
    sign = 1.0 if row.metric.better == "lower" else -1.0
    there = np.isfinite(b) & np.isfinite(c)
    known = np.concatenate([b[np.isfinite(b)], c[np.isfinite(c)]])
    row.log = row.metric.scale == "log" and bool((known > 0).all())
    row.relative = row.metric.unit != "%"
    losses = np.full(b.shape, math.nan)
    if row.log:
        losses[there] = sign * np.log(c[there] / b[there])
        row.margin = math.log1p(margins.relative)
    elif row.relative:
        unit = abs(float(b[there].mean())) if there.any() else 1.0
        losses[there] = sign * (c[there] - b[there]) / (unit or 1.0)
        # of a baseline of nothing there is no share
        row.margin, row.relative = (margins.relative, True) if unit else (0.0, False)
    else:
        losses[there] = sign * (c[there] - b[there])
        row.margin = margins.points
    if is_to_target(row.metric):
        losses[np.isfinite(b) & ~np.isfinite(c)] = math.inf
        losses[np.isfinite(c) & ~np.isfinite(b)] = -math.inf
    row.losses = losses.tolist()


def _finished(row: _Row, verdict: float, low: float, high: float, losses: Array) -> dict[str, Any]:
    name = NOTHING if math.isnan(verdict) else {1: "worse", -1: "better", 0: "same"}[int(verdict)]
    ends = not is_to_target(row.metric)
    if ends and row.lost != row.gained:
        name = "worse" if row.lost > row.gained or name == "worse" else "better"
    usable = losses[~np.isnan(losses)]
    middle = float("nan") if not len(usable) else float(np.median(usable) if np.isinf(usable).any() else usable.mean())
    bounds = sorted([row.natural(low), row.natural(high)])
    return {
        "workload": row.workload,
        "optimizer": row.optimizer,
        "against": row.against,
        "metric": row.metric.name,
        "baseline": row.baseline,
        "candidate": row.candidate,
        "difference": row.natural(middle),
        "low": bounds[0],
        "high": bounds[1],
        "verdict": name,
        "relative": row.relative,
        "margin": math.expm1(row.margin) if row.log else row.margin,
        "seeds": row.seeds,
        "lost": row.lost,
        "gained": row.gained,
        "note": row.note or "; ".join(_remarks(row, ends, usable)),
    }


def _remarks(row: _Row, ends: bool, usable: Array) -> list[str]:
    what = "diverged or failed" if ends else "never reached the target"
    got = "finished" if ends else "did"
    found = []
    if row.lost:
        found.append(f"{what} at {_seeds(row.lost)} where the baseline {got}")
    if row.gained:
        found.append(f"{got if ends else 'reached it'} at {_seeds(row.gained)} where the baseline {what}")
    if not len(usable):
        found.append(f"both {what} at every seed" if not (row.lost or row.gained) else "no seed at which both finished")
    elif len(usable) == 1 and usable[0] != 0:
        found.append("one seed tells nothing")
    elif len(usable) < MIN_SEEDS:
        found.append(f"underpowered: {_seeds(len(usable))}")
    return found


def _seeds(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"
