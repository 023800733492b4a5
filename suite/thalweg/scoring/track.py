"""The rule of an optimization track: how many steps an optimizer takes to a fixed loss, and who beats whom.

The rule is that of the optimization track of modded-nanogpt: an entry of n runs has reached the target after the first
step at which (target - mean) n^(1/2) >= margin, where the mean is over the runs' validation losses at that step. With
runs whose loss deviates by sigma, a margin of 3.1 sigma makes a false entry at a given step less likely than 0.001.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thalweg.benchmark_file import TrackSpec
from thalweg.plan import Workload

COLUMNS = ["optimizer", "steps", "statistic", "mean", "seeds", "lost", "gradients", "against", "difference"]
"""The columns of ``standings``."""

COLUMNS_READ = ("step", "split", "metric", "value", "gradient_evaluations", "curvature_products")
"""The columns of curves that ``entries`` reads."""


class Means(NamedTuple):
    """What a comparison needs of an entry."""

    by_step: Mapping[int, float]
    """The mean validation loss of the runs at each step."""
    runs: int


@dataclass(frozen=True)
class Entry:
    """An optimizer's runs on the track."""

    optimizer: str
    grid: np.ndarray[Any, np.dtype[np.int64]]
    """(S,): the steps at which all runs were evaluated."""
    losses: np.ndarray[Any, np.dtype[np.float64]]
    """(S, n): the validation losses, or values of the target's metric, of the runs that ended."""
    lost: int
    """Runs that diverged or failed. An entry with a lost run has no steps."""
    gradients: float
    """Gradients and products with curvature matrices in a step, in the mean over the runs."""
    target: float
    margin: float
    seeds: tuple[int, ...] = ()
    """The seeds of the runs that ended."""
    sign: int = 1
    """1 where smaller values of the metric are better, -1 where larger ones are."""

    @property
    def runs(self) -> int:
        """n."""
        return int(self.losses.shape[1])

    @property
    def means(self) -> Means:
        """The mean loss by step, and the number of runs."""
        return Means(dict(zip(self.grid.tolist(), self.losses.mean(axis=1).tolist(), strict=True)), self.runs)

    @property
    def statistics(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(S,): (target - mean) n^(1/2); (mean - target) n^(1/2) of a metric of which more is better."""
        lead = self.sign * (self.target - self.losses.mean(axis=1))
        found: np.ndarray[Any, np.dtype[np.float64]] = lead * math.sqrt(self.runs)
        return found

    @property
    def place(self) -> int | None:
        """The place in ``at`` of the first step that passes."""
        if not self.runs or self.lost:
            return None
        passed = np.flatnonzero(self.statistics >= self.margin)
        return int(passed[0]) if len(passed) else None

    @property
    def nearest(self) -> int | None:
        """The place of the largest statistic; None without a finite one."""
        finite = np.isfinite(self.statistics) if self.runs else np.zeros(0, dtype=bool)
        return int(np.where(finite, self.statistics, -math.inf).argmax()) if finite.any() else None

    def against(self, other: Means) -> float:
        """(mean of the other - own mean) / (1 / n + 1 / m)^(1/2) at this entry's steps; nan where one is not there.

        The entry beats the other if the difference is at least the margin.
        """
        place = self.place
        theirs = None if place is None else other.by_step.get(int(self.grid[place]))
        if place is None or theirs is None:
            return math.nan
        lead = self.sign * (theirs - self.losses[place].mean())
        return float(lead / math.sqrt(1 / self.runs + 1 / other.runs))


def entries(trials: pd.DataFrame, curves: pd.DataFrame, workload: Workload, track: TrackSpec) -> list[Entry]:
    """The entries of a track, from the trials and curves of its workload.

    Args:
        trials: ``optimizer``, ``seed``, ``status`` of the trials that count.
        curves: ``optimizer``, ``seed`` and COLUMNS_READ.
        workload: gives the target, on the validation split.
        track: gives the margin.
    """
    target = workload.target
    assert target is not None
    rows = curves[(curves["split"] == workload.target_split) & (curves["metric"] == target.metric)]
    found = []
    for optimizer, mine in trials.groupby("optimizer", sort=False, observed=True):
        done = mine.loc[mine["status"] == "done", "seed"]
        own = rows[(rows["optimizer"] == optimizer) & rows["seed"].isin(done) & (rows["step"] > 0)]
        last = own[own["step"] == own["step"].max()]
        spent = (last["gradient_evaluations"] + last["curvature_products"]) / last["step"]
        table = own.pivot_table(index="step", columns="seed", values="value", dropna=False).dropna()
        found.append(
            Entry(
                str(optimizer),
                table.index.to_numpy(np.int64),
                table.to_numpy(np.float64),
                int((mine["status"] != "done").sum()),
                float(spent.mean()),
                target.value,
                track.margin,
                tuple(int(seed) for seed in table.columns),
                -1 if workload.target_metric is not None and workload.target_metric.better == "higher" else 1,
            )
        )
    return found


def standings(found: Sequence[Entry], record: Means | None, name: str) -> pd.DataFrame:
    """One row for each entry, the fewest steps first (``COLUMNS``); entries that do not reach the target come last.

    ``statistic`` and ``mean`` are those at ``steps``, or the largest statistic and its mean where no step passes.
    ``difference`` compares with the record. Without a record it compares with the best entry, and the best entry with
    the second.

    Args:
        found: the entries.
        record: the record's means; None without a record.
        name: the record's name.
    """
    ranked = sorted(found, key=_order)
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(ranked):
        passed = one.place
        place = one.nearest if passed is None else passed
        rival = ranked[0 if number else 1] if len(ranked) > 1 else None
        other = (name, record) if record is not None else (rival.optimizer, rival.means) if rival else None
        rows.append(
            {
                "optimizer": one.optimizer,
                "steps": math.nan if passed is None else float(one.grid[passed]),
                "statistic": math.nan if place is None else float(one.statistics[place]),
                "mean": math.nan if place is None else float(one.losses[place].mean()),
                "seeds": one.runs + one.lost,
                "lost": one.lost,
                "gradients": one.gradients,
                "against": other[0] if other else "",
                "difference": one.against(other[1]) if other else math.nan,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _order(one: Entry) -> tuple[bool, float, float]:
    passed, nearest = one.place, one.nearest
    steps = math.inf if passed is None else float(one.grid[passed])
    return passed is None, steps, math.inf if nearest is None else -float(one.statistics[nearest])
