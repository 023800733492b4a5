"""Exact tests of a shift by re-randomisation, and their confidence bounds, for paired seeds and for two samples."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

MOST = 2**16 - 1
"""The most re-randomisations. Beyond, this many are drawn at random, from a seed that the number of seeds fixes."""
ROUNDING = 1e-9
"""Shifts that differ by this share count as equal: a mean of equal numbers may be off by a rounding error."""
_CHUNK = 2**22
"""Numbers that are computed at once."""


class Evidence(NamedTuple):
    """P-values of four hypotheses on a row's shift, with an entry for each row; nan without seeds."""

    worse: Array
    """Of "the shift is at most the margin"."""
    better: Array
    """Of "the shift is at least minus the margin"."""
    below: Array
    """Of "the shift exceeds the margin"."""
    above: Array
    """Of "the shift is less than minus the margin"."""


@lru_cache(maxsize=64)
def subsets(n: int) -> Array:
    """Subsets of n seeds that are not empty, as rows of zeros and ones: all of them, or ``MOST`` at random."""
    if 2**n - 1 <= MOST:
        return (np.arange(1, 2**n)[:, None] >> np.arange(n) & 1).astype(float)
    return np.random.default_rng(n).integers(0, 2, (MOST, n)).astype(float)


@lru_cache(maxsize=64)
def exchanges(before: int, after: int) -> Array:
    """Choices of ``after`` out of all seeds of two samples, as rows of zeros and ones, without the choice made."""
    n = before + after
    if comb(n, after) - 1 <= MOST:
        rows = np.zeros((comb(n, after), n))
        chosen = np.array(list(combinations(range(n - 1, -1, -1), after)))
        np.put_along_axis(rows, chosen, 1.0, -1)
        return rows[1:]  # the first choice is the last ``after`` seeds, the choice made
    draw = np.random.default_rng([before, after])
    return (draw.random((MOST, n)).argsort(-1) < after).astype(float)


def paired(losses: Array) -> Array:
    """The shifts at which a re-randomisation of paired losses (n,) or (rows, n) is as extreme as the data.

    Under a shift theta, the loss minus theta is as likely as its negative at every seed. Turning the signs of a subset
    F of the seeds makes the mean at least as large exactly where the mean of F's losses is at most theta. So the shifts
    are the means of all subsets (Hartigan 1969, *Using subsample values as typical values*, JASA 64; Good 2005,
    *Permutation, Parametric and Bootstrap Tests*, 3.2). Infinite losses count as very large numbers of equal size.
    """
    rows = np.atleast_2d(np.asarray(losses, dtype=float))
    sets = subsets(rows.shape[-1]).T
    sizes = np.maximum(sets.sum(0), 1.0)
    finite: Array = np.where(np.isfinite(rows), rows, 0.0) @ sets / sizes
    if np.isinf(rows).any():
        unending = np.where(np.isinf(rows), np.sign(rows), 0.0) @ sets
        finite = np.where(unending == 0, finite, np.copysign(np.inf, unending))
    if (empty := sets.sum(0) == 0).any():  # a draw that turns no sign is the data themselves: it counts everywhere
        finite[:, empty] = np.nan
    return finite


def two_samples(before: Array, after: Array) -> Array:
    """The shifts at which a re-randomisation of two samples (n,) and (m,) is as extreme as the data, as (1, count).

    Under a shift theta, ``before`` and ``after`` minus theta are exchangeable. Let an exchange give the difference of
    means A and leave a share w of the shift, where the data give D. It is at least as extreme exactly where
    A - w theta >= D - theta, that is at theta >= (D - A) / (1 - w).
    """
    n, m = len(before), len(after)
    whole = np.concatenate([before, after])
    chosen = exchanges(n, m)
    weights = chosen / m - (1.0 - chosen) / n
    own = np.concatenate([np.full(n, -1.0 / n), np.full(m, 1.0 / m)])
    kept = chosen[:, n:].sum(-1) / m - (m - chosen[:, n:].sum(-1)) / n
    finite = np.where(np.isfinite(whole), whole, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shifts: Array = (own @ finite - weights @ finite) / (1.0 - kept)
        if np.isinf(whole).any():
            unending = np.where(np.isinf(whole), np.sign(whole), 0.0)
            lead = own @ unending - weights @ unending
            shifts = np.where(np.abs(lead) < 1e-12, shifts, np.copysign(np.inf, lead))
    shifts[kept == 1.0] = np.nan
    return shifts[None]


def evidence(shifts: Array, margins: Array) -> Evidence:
    """P-values from shifts (rows, count) at margins (rows,): (1 + the re-randomisations as extreme) / (1 + count)."""
    total = shifts.shape[-1] + 1
    edge = margins[:, None]
    slack = ROUNDING * np.abs(edge)
    none = np.isnan(shifts).sum(-1)
    with np.errstate(invalid="ignore"):
        counts = (
            (shifts <= edge + slack).sum(-1),
            (shifts >= -edge - slack).sum(-1),
            (shifts > edge + slack).sum(-1),
            (shifts < -edge - slack).sum(-1),
        )
    return Evidence(*((1 + none + count) / total for count in counts))


def lower_bound(shifts: Array, level: float) -> float:
    """The lower confidence bound of the shift from one row's shifts (count,): smaller shifts have p <= ``level``."""
    place = int(level * (len(shifts) + 1) * (1 + 1e-12))
    if place == 0:
        return -np.inf
    ordered = np.where(np.isnan(shifts), -np.inf, shifts)
    return float(np.partition(ordered, place - 1)[place - 1])


def upper_bound(shifts: Array, level: float) -> float:
    """The upper confidence bound of the shift from one row's shifts (count,)."""
    return -lower_bound(-shifts, level)


def chunks(rows: int, count: int) -> Iterator[slice]:
    """Slices of rows whose shifts fit into memory together."""
    step = max(1, _CHUNK // max(count, 1))
    return (slice(start, start + step) for start in range(0, rows, step))
