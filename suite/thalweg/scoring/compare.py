"""Is the candidate worse than the baseline? A verdict for each workload, optimizer and metric, and one for all."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.scoring.intervals import FLOOR, t_interval
from thalweg.scoring.judge import ALPHA, BETTER, SAME, UNDECIDED, WORSE, Judged, Levels, decide
from thalweg.scoring.margins import Margins
from thalweg.scoring.measures import STATE_BYTES, TO_TARGET, is_to_target
from thalweg.scoring.more_seeds import Spread, more_seeds, spread_of, spread_of_two
from thalweg.scoring.outcomes import Metrics
from thalweg.scoring.rerandomised import Array, Evidence, evidence, lower_bound, paired, two_samples, upper_bound

NOTHING = "nothing compared"
NAMES = {WORSE: "worse", BETTER: "better", SAME: "same", UNDECIDED: "undecided"}
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
    "margin_low",
    "margin_high",
    "seeds",
    "lost",
    "gained",
    "collapsed",
    "equal",
    "level",
    "tested_at",
    "smallest_p",
    "loss_at_most",
    "more_seeds",
    "note",
]


class Pair(NamedTuple):
    """The names of two optimizers: the baseline's and the candidate's."""

    baseline: str
    candidate: str


@dataclass(frozen=True)
class Terms:
    """The terms of a comparison."""

    margins: Margins = field(default_factory=Margins)
    levels: Levels = field(default_factory=Levels)
    paired: bool = True
    """Whether the seeds of both sides are pairs. Otherwise the sides are two independent samples."""
    excluded: Mapping[tuple[str, Pair], str] = field(default_factory=dict)
    """Why a pair is not compared on a workload, by workload and pair."""
    equal: Collection[tuple[str, Pair]] = ()
    """The workloads and pairs whose curves are equal to the bit at every seed."""
    easiest: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """The easiest level of a metric, by workload and metric. A seed that ends beyond has collapsed."""
    examples: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """The examples in the split of a metric, by workload and metric."""


@dataclass
class _Row:
    """A workload, optimizer and metric, before the verdict."""

    workload: str
    metric: Metric
    pair: Pair
    seeds: int = 0
    baseline: float = math.nan
    candidate: float = math.nan
    counted: int = 0
    """The seeds that at least one side finished. They enter the test."""
    shifts: Array = field(default_factory=lambda: np.empty((1, 0)))
    """What the row is judged by: see ``rerandomised``. Empty where there is nothing to compare."""
    loss: float = math.nan
    """The estimated loss."""
    margin: float = 0.0
    """The margin on the scale of ``losses``."""
    log: bool = False
    relative: bool = False
    equal: bool = False
    lost: int = 0
    gained: int = 0
    collapsed: int = 0
    numberless: bool = False
    """Whether a seed finished without a number."""
    spread: Spread = field(default_factory=Spread)
    note: str = ""

    def natural(self, loss: float) -> float:
        """A loss as a difference, candidate minus baseline, or as a relative difference."""
        difference = loss if self.metric.better == "lower" else 0.0 - loss
        if self.log and math.isfinite(difference):
            return math.expm1(min(difference, 700.0))
        return -1.0 if self.log and difference == -math.inf else difference


def compare(
    baseline: pd.DataFrame, candidate: pd.DataFrame, metrics: Metrics, pairs: Sequence[Pair], terms: Terms | None = None
) -> pd.DataFrame:
    """A row for each workload, pair of optimizers and metric, with ``COLUMNS``.

    Seeds that both sides ran are paired, unless ``terms`` say that the sides are independent. The loss at a seed is how
    much worse the candidate is. For fractions in percent it is the difference. For metrics with a log scale it is
    log(candidate / baseline), where values below a floor count as the floor, as on leaderboards. If a value is below
    zero, and for other metrics, it is the difference as a share of the baseline's mean. All rows are tested together:
    see ``judge.decide``.

    A seed that diverged, failed or missed the target on one side alone is an infinite loss of that side. ``lost``
    counts the seeds at which only the baseline finished (in a row of costs: reached the target), and ``gained`` the
    seeds at which only the candidate did; of independent samples they count the seeds of one side. ``collapsed`` counts
    the seeds at which only the candidate ended beyond the workload's easiest level. A row with such a seed is never the
    same.

    ``difference``, ``low`` and ``high`` are candidate minus baseline, divided by the baseline where ``relative``. The
    interval is made of two one-sided bounds at ``level``: the level that decided, and 5% for undecided rows.
    ``margin_low`` and ``margin_high`` are the differences that a loss of the margin, in either direction, makes.
    ``tested_at`` is the level at which Holm's procedure tests the row, and ``smallest_p`` the smallest p-value that so
    many seeds can give. For undecided rows, ``loss_at_most`` bounds how much worse the candidate may be (95%,
    one-sided), and ``more_seeds`` is about how many further seeds decide.

    Args:
        baseline: the baseline's outcomes, from ``outcomes.outcomes``.
        candidate: the candidate's outcomes.
        metrics: the metrics that are compared, by workload.
        pairs: the pairs of optimizers that are compared.
        terms: margins, error rate and what is known of the workloads.
    """
    terms = terms or Terms()
    wanted = [(workload, pair, metric) for workload, all_ in metrics.items() for pair in pairs for metric in all_]
    rows = [row for each in wanted if (row := _row(baseline, candidate, *each, terms))]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    found = [evidence(row.shifts, np.array([row.margin])) if row.shifts.size else _NONE for row in rows]
    together = Evidence(*(np.concatenate(each) for each in zip(*found, strict=True)))
    judged = decide(together, np.array([row.equal for row in rows]), terms.levels)
    return pd.DataFrame([_finished(row, judged, place, terms) for place, row in enumerate(rows)], columns=COLUMNS)


_NONE = Evidence(*[np.array([math.nan])] * 4)


def overall(verdicts: Iterable[str]) -> str:
    """Worse if a row is worse, else undecided if a row is, else better if a row is, else same.

    Without any row that was compared, nothing compared.

    >>> overall(["same", "better", "undecided"])
    'undecided'
    """
    there = set(verdicts)
    return next((verdict for verdict in ("worse", "undecided", "better", "same") if verdict in there), NOTHING)


def _row(
    baseline: pd.DataFrame, candidate: pd.DataFrame, workload: str, pair: Pair, metric: Metric, terms: Terms
) -> _Row | None:
    """The row of a metric; None where neither side has a trial."""

    def of(table: pd.DataFrame, optimizer: str) -> pd.DataFrame:
        mine = (table["workload"] == workload) & (table["metric"] == metric.name) & (table["optimizer"] == optimizer)
        return table.loc[mine, ["seed", "finished", "value"]].drop_duplicates("seed")

    before, after = of(baseline, pair.baseline), of(candidate, pair.candidate)
    if before.empty and after.empty:
        return None
    row = _Row(workload, metric, pair, note=terms.excluded.get((workload, pair), ""))
    both = before.merge(after, on="seed", suffixes=("_before", "_after"))
    if before.empty or after.empty:
        row.note = f"not in the {'baseline' if before.empty else 'candidate'}"
    elif both.empty and terms.paired and not row.note:
        row.note = "no seed in common: --unpaired compares two independent samples"
    if row.note:
        return row
    if terms.paired:
        b, c = both["value_before"].to_numpy(dtype=float), both["value_after"].to_numpy(dtype=float)
        row.seeds, row.equal = len(both), (workload, pair) in terms.equal
        # the memory of a state does not depend on the seed
        row.equal |= metric.name == STATE_BYTES.name and bool((b == c).all())
    else:
        b, c = before["value"].to_numpy(dtype=float), after["value"].to_numpy(dtype=float)
        row.seeds = min(len(b), len(c))
    level = terms.easiest.get((workload, metric.name))
    down_b, down_c = (_beyond(values, level, metric) for values in (b, c))
    there_b, there_c = np.isfinite(b), np.isfinite(c)
    sides = (
        (both["finished_before"], both["finished_after"]) if terms.paired else (before["finished"], after["finished"])
    )
    row.numberless = any(
        bool((finished.to_numpy(dtype=bool) & np.isnan(values)).any())
        for finished, values in zip(sides, (b, c), strict=True)
    )
    if terms.paired:
        row.lost, row.gained = int((there_b & ~there_c).sum()), int((there_c & ~there_b).sum())
        row.collapsed = int((down_c & ~down_b).sum())
    else:
        row.lost, row.gained = int((~there_c).sum()), int((~there_b).sum())
        row.collapsed = int(down_c.sum()) if not down_b.any() else 0
    log = metric.scale == "log" and not bool((np.concatenate([b, c]) < 0).any())
    row.baseline, row.candidate = _value(b, metric, log), _value(c, metric, log)
    _measure(row, b, c, log, terms)
    return row


def _beyond(values: Array, level: float | None, metric: Metric) -> Array:
    """Which values are worse than a level."""
    if level is None:
        return np.zeros(values.shape, dtype=bool)
    return np.isfinite(values) & (values < level if metric.better == "higher" else values > level)


def _value(values: Array, metric: Metric, log: bool) -> float:
    """The value as in the leaderboard: the mean over finished seeds; nan if a seed never reaches the target."""
    if is_to_target(metric) and not np.isfinite(values).all():
        return math.nan
    return t_interval(list(values[np.isfinite(values)]), log=log, floor=_floor(metric)).value


def _floor(metric: Metric) -> float:
    """Values below count as this on a log scale, as on leaderboards: a target that is met at the start costs one."""
    return 1.0 if metric.name in TO_TARGET else FLOOR


def _measure(row: _Row, b: Array, c: Array, log: bool, terms: Terms) -> None:
    """What a row is judged by, and the margin on the same scale."""
    sign = 1.0 if row.metric.better == "lower" else -1.0
    there_b, there_c = np.isfinite(b), np.isfinite(c)
    used = there_b & there_c if terms.paired else there_b
    mean = float(b[used].mean()) if used.any() else math.nan
    row.log, row.relative, unit = log, row.metric.unit != "%", 1.0
    if log:
        row.margin = math.log1p(terms.margins.relative)
    elif row.relative:
        unit = abs(mean) if used.any() else 1.0
        # of a baseline of nothing there is no share
        row.margin, row.relative, unit = (terms.margins.relative, True, unit) if unit else (0.0, False, 1.0)
    else:
        row.margin = terms.margins.of_fraction(row.metric, mean, terms.examples.get((row.workload, row.metric.name)))
    before, after = (_scaled(values, sign, log, unit, row.metric) for values in (b, c))
    if terms.paired:
        with np.errstate(invalid="ignore"):  # of two that do not finish: nan
            losses = after - before
        losses = losses[~np.isnan(losses)]
        row.counted = len(losses)
        if len(losses):
            row.shifts = paired(losses)
            with np.errstate(invalid="ignore"):  # no median lies between infinities of both signs
                row.loss = float(np.median(losses) if np.isinf(losses).any() else losses.mean())
            row.spread = spread_of(losses)
    elif len(before) and len(after) and (there_b.any() or there_c.any()):
        row.shifts, row.counted, row.spread = two_samples(before, after), row.seeds, spread_of_two(before, after)
        unending = np.isinf(before).any() or np.isinf(after).any()
        with np.errstate(invalid="ignore"):
            row.loss = float(np.median(after) - np.median(before)) if unending else float(after.mean() - before.mean())


def _scaled(values: Array, sign: float, log: bool, unit: float, metric: Metric) -> Array:
    """Values on the scale of losses, where larger is worse; what did not finish is infinitely large."""
    there = np.isfinite(values)
    known = np.where(there, values, 1.0)
    scaled = np.log(np.maximum(known, _floor(metric))) if log else known / unit
    return np.where(there, sign * scaled, np.inf)


def _finished(row: _Row, judged: Judged, place: int, terms: Terms) -> dict[str, Any]:
    code = judged.verdict[place]
    name = NOTHING if math.isnan(code) else NAMES[int(code)]
    if name == "same" and row.collapsed:
        name = "undecided"
    level, low, high = terms.levels.same, math.nan, math.nan
    tested = smallest = at_most = math.nan
    more: float | None = None
    if row.equal and not math.isnan(code):
        low = high = 0.0
    elif row.shifts.size:
        tested = float(judged.better_level[place] if name == "better" else judged.worse_level[place])
        level = {"same": terms.levels.same, "undecided": ALPHA}.get(name, tested)
        low, high = lower_bound(row.shifts[0], level), upper_bound(row.shifts[0], level)
        smallest = 1.0 / (row.shifts.shape[-1] + 1)
        if name == "undecided":
            at_most = row.natural(high)
            # by rule, a row with a collapse is never the same
            more = None if row.collapsed else more_seeds(row.spread, row.margin, tested, terms.levels.same)
    bounds = sorted([row.natural(low), row.natural(high)])
    margins = sorted([row.natural(row.margin), row.natural(-row.margin)])
    return {
        "workload": row.workload,
        "optimizer": row.pair.candidate,
        "against": row.pair.baseline,
        "metric": row.metric.name,
        "baseline": row.baseline,
        "candidate": row.candidate,
        "difference": row.natural(row.loss),
        "low": bounds[0],
        "high": bounds[1],
        "verdict": name,
        "relative": row.relative,
        "margin": math.expm1(row.margin) if row.log else row.margin,
        "margin_low": margins[0],
        "margin_high": margins[1],
        "seeds": row.seeds,
        "lost": row.lost,
        "gained": row.gained,
        "collapsed": row.collapsed,
        "equal": row.equal,
        "level": level if row.shifts.size and not row.equal else math.nan,
        "tested_at": tested,
        "smallest_p": smallest,
        "loss_at_most": at_most,
        "more_seeds": math.nan if more is None else more,
        "note": row.note or "; ".join(_remarks(row, terms)),
    }


def _remarks(row: _Row, terms: Terms) -> list[str]:
    ends = not is_to_target(row.metric)
    what = "diverged or failed" if ends else "never reached the target"
    if row.numberless:
        what = "diverged, failed or had no number"
    got = "finished" if ends else "did"
    found = []
    if not row.shifts.size:
        return [f"both {what} at every seed"]
    if not (row.relative or row.log or row.metric.unit == "%"):
        found.append("the baseline's mean is 0: every difference is beyond the margin")
    if row.lost:
        found.append(f"{what} at {_seeds(row.lost)}" + (f" where the baseline {got}" if terms.paired else ""))
    if row.gained:
        told = f"{got if ends else 'reached it'} at {_seeds(row.gained)} where the baseline {what}"
        found.append(told if terms.paired else f"the baseline {what} at {_seeds(row.gained)}")
    if row.collapsed:
        told = f"collapsed at {_seeds(row.collapsed)}: beyond the workload's easiest level"
        found.append(f"{told}, which is never the same")
    if terms.paired and (neither := row.seeds - row.counted):
        found.append(f"both {what} at {_seeds(neither)}")
    return found


def _seeds(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"
