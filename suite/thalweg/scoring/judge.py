"""The verdict of each row of a comparison, from p-values of its shift; vectorised over rows and repetitions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from thalweg.scoring.holm import holm_levels
from thalweg.scoring.rerandomised import MOST, Evidence, chunks, evidence, paired

Array = np.ndarray[Any, Any]

ALPHA = 0.05
"""The probability that a comparison calls any row worse although no row is worse by more than its margin."""
WORSE, SAME, BETTER, UNDECIDED = 1, 0, -1, 2


class Judged(NamedTuple):
    """Arrays with an entry for each row."""

    verdict: Array
    """``WORSE``, ``SAME``, ``BETTER`` or ``UNDECIDED``; nan where there is nothing to compare."""
    worse_level: Array
    """The level at which the row is tested for being worse."""
    better_level: Array


class Levels(NamedTuple):
    """The error rates of a comparison."""

    differ: float = ALPHA
    """Of the worse rows as a family, and of the better rows as another family."""
    same: float = ALPHA
    """Of each row's "same"."""


def decide(found: Evidence, equal: Array | bool = False, levels: Levels | None = None) -> Judged:
    """The verdicts of rows (..., rows) with given p-values.

    Args:
        found: p-values; nan where a row has no seeds.
        equal: the rows whose curves are equal to the bit at every seed. They are the same, and take part in no test.
        levels: the error rates.

    A row is worse (better) where Holm's procedure over all tested rows rejects that its shift is at most the margin (at
    least minus the margin). It is the same where both "the shift exceeds the margin" and "the shift is less than minus
    the margin" are rejected at ``alpha``: two one-sided tests (Schuirmann 1987, *J. Pharmacokinetics and
    Biopharmaceutics* 15). All rows of a comparison are the same at once only if each of them is, so that this level
    needs no correction (Berger 1982, *Technometrics* 24: intersection-union test). Any other row is undecided.
    """
    levels = levels or Levels()
    tested = ~np.isnan(found.worse) & ~np.asarray(equal)
    worse_p, better_p = np.where(tested, found.worse, np.nan), np.where(tested, found.better, np.nan)
    worse_level, better_level = holm_levels(worse_p, levels.differ), holm_levels(better_p, levels.differ)
    with np.errstate(invalid="ignore"):
        within = (found.below <= levels.same) & (found.above <= levels.same)
        worse, better = worse_p <= worse_level, better_p <= better_level
    verdict = np.select(
        [np.asarray(equal), np.isnan(found.worse), worse, better, within],
        [SAME, np.nan, WORSE, BETTER, SAME],
        UNDECIDED,
    )
    return Judged(verdict, worse_level, better_level)


def judge(losses: Array, margins: Array, equal: Array | bool = False, levels: Levels | None = None) -> Judged:
    """The verdicts of losses (..., rows, seeds) at paired seeds.

    A loss says how much worse the candidate is at a seed: infinity where only the baseline finished, minus infinity
    where only the candidate did, nan where neither did or one was not run. ``margins`` are (rows,) or (..., rows).
    """
    return decide(evidence_of(losses, margins), equal, levels)


def evidence_of(losses: Array, margins: Array) -> Evidence:
    """P-values (..., rows) of losses (..., rows, seeds) at paired seeds, by turning signs: see ``rerandomised``."""
    losses = np.asarray(losses, dtype=float)
    shape = losses.shape[:-1]
    flat = losses.reshape(-1, losses.shape[-1])
    edges = np.broadcast_to(np.asarray(margins, dtype=float), shape).reshape(-1)
    there = ~np.isnan(flat)
    counts = there.sum(-1)
    found = np.full((4, len(flat)), np.nan)
    for n in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == n)
        values = flat[rows][there[rows]].reshape(len(rows), n)
        for part in chunks(len(rows), min(2 ** int(n), MOST)):
            found[:, rows[part]] = evidence(paired(values[part]), edges[rows[part]])
    return Evidence(*(p.reshape(shape) for p in found))
