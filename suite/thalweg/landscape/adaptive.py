"""A loss surface from few evaluations, placed where it bends, with its error measured at points held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
HELD_OUT = 16
START = 5
BATCH = 8
CANDIDATES = 41


def _kernel(a: Floats, b: Floats, lengths: Floats) -> Floats:
    """Matern 5/2 with a wide prior on a quadratic trend (Rasmussen and Williams 2006, equation 4.17)."""
    r = np.sqrt(5.0) * np.sqrt((((a[:, None] - b[None]) / lengths) ** 2).sum(-1))
    d = a @ b.T
    return np.asarray((1 + r + r * r / 3) * np.exp(-r) + 10 * (1 + d + d * d))


class _Process:
    """A Gaussian process through ``values`` (n,) at ``points`` (n, 2) in [-1, 1]^2; length scales by likelihood."""

    def __init__(self, points: Floats, values: Floats) -> None:
        self.points, self.mean, self.sd = points, float(values.mean()), float(values.std()) or 1.0
        scaled, best = (values - self.mean) / self.sd, np.inf
        for each in (0.3, 0.6, 1.2, 2.5):
            lengths = np.full(2, each)
            k = _kernel(points, points, lengths)
            k[np.diag_indices(len(k))] += 1e-8
            factor = cholesky(k, lower=True)
            weights = cho_solve((factor, True), scaled)
            n = len(scaled)
            cost = n / 2 * np.log(max(float(scaled @ weights) / n, 1e-300)) + np.log(np.diag(factor)).sum()
            if cost < best:
                best, self.lengths, self.factor, self.weights = cost, lengths, factor, weights

    def __call__(self, at: Floats) -> Floats:
        return np.asarray(self.mean + self.sd * (_kernel(at, self.points, self.lengths) @ self.weights))

    def misfit(self, at: Floats) -> Floats:
        """Leave-one-out residuals over their standard deviations (ibid., 5.12), averaged near each query."""
        inverse = np.diag(cho_solve((self.factor, True), np.eye(len(self.points))))
        z2 = self.weights**2 / inverse
        distance, near = (
            np.asarray(a) for a in cKDTree(self.points).query(at, k=range(1, min(6, len(self.points)) + 1))
        )
        w = np.exp(-2 * (distance / (distance[:, -1:] + 1e-12)) ** 2)
        local = np.sqrt((w * z2[near]).sum(1) / w.sum(1))
        return np.asarray(self.sd * np.maximum(local, 0.1 * np.median(local)))


@dataclass(frozen=True)
class AdaptiveSurface:
    """Exact losses at ``points`` (K, 2) and an interpolant through all of them, held-out points included.

    ``max_error`` and ``rms_error`` are shares of the range, of the interpolant before it saw the held-out points, and
    nan if no held-out point could be compared. Only held-out points where loss and interpolant are finite compare.
    """

    points: Floats
    values: Floats
    held_out: NDArray[np.bool_]
    max_error: float
    rms_error: float
    reached: bool
    _interpolant: Callable[[Floats], Floats]

    @property
    def evaluations(self) -> int:
        """How many points were evaluated, K."""
        return len(self.points)

    def at(self, x: Floats, y: Floats) -> Floats:
        """Losses at (x, y), arrays of one shape; nan where the nearest evaluated point is not finite."""
        at = np.column_stack([np.ravel(x), np.ravel(y)]).astype(float)
        found = self._interpolant(at)
        distance, near = cKDTree(self.points).query(at)
        exact = np.where(np.isfinite(self.values), self.values, np.nan)[near]
        return np.where(distance == 0, exact, found).reshape(np.shape(x))

    def grid(self, xs: Floats, ys: Floats) -> Floats:
        """Losses at every pair, shape (len(ys), len(xs))."""
        x, y = np.meshgrid(xs, ys)
        return self.at(x, y)


def adaptive_surface(
    function: Callable[[Floats], Floats],
    x: tuple[float, float],
    y: tuple[float, float],
    tolerance: float,
    *,
    log: bool,
    most: int,
    generator: np.random.Generator,
) -> AdaptiveSurface:
    """Interpolate ``function``, (K, 2) -> (K,), on a rectangle with error / (max - min) <= ``tolerance``.

    A Gaussian process starts from 5 x 5 points between even and Chebyshev spacing and the centre (0, 0), and adds
    eight at a time where its standard deviation, scaled by leave-one-out residuals nearby, is largest. It models
    log-losses where all are positive. It stops when that estimate and the error at 16 stratified random held-out
    points are within the tolerance, or at ``most`` evaluations. Stopping looks at the held-out points, placing not.

    Args:
        tolerance: a share of the range of the losses, or with ``log`` of the log-losses.
        most: the most evaluations, held-out points included; at least 42.

    Losses that are not finite, and with ``log`` those not positive, are nan, and so is what lies nearest to them.

    Raises:
        ValueError: a rectangle without area, a tolerance not above 0, or too few evaluations.

    >>> bowl = adaptive_surface(lambda p: (p**2).sum(1), (-1, 1), (-1, 1), 0.01, log=False, most=99,
    ...                         generator=np.random.default_rng(0))
    >>> bowl.reached, bowl.evaluations
    (True, 41)
    """
    low, high = np.array([x[0], y[0]], float), np.array([x[1], y[1]], float)
    if not (np.isfinite([low, high]).all() and (high > low).all()):
        raise ValueError(f"a rectangle needs x[0] < x[1] and y[0] < y[1], finite; got x={x}, y={y}")
    if not tolerance > 0 or most < HELD_OUT + START**2 + 1:
        raise ValueError(f"needs tolerance > 0 and most >= {HELD_OUT + START**2 + 1}; got {tolerance} and {most}")

    def unit(p: Floats) -> Floats:
        return np.asarray((2 * p - low - high) / (high - low))

    def plane(u: Floats) -> Floats:
        return np.asarray(low + (u + 1) / 2 * (high - low))

    def evaluate(p: Floats) -> Floats:
        v = np.asarray(function(p), float)
        return np.where(np.isfinite(v) & ((v > 0) | (not log)), v, np.nan)

    def pairs(t: Any) -> Floats:
        return np.array([(a, b) for a in t for b in t])

    side = round(HELD_OUT**0.5)
    held = plane((pairs(np.arange(side)) + generator.random((HELD_OUT, 2))) * 2 / side - 1)
    start = (np.linspace(-1, 1, START) - np.cos(np.pi * np.arange(START) / (START - 1))) / 2
    points = plane(pairs(start))
    if (low <= 0).all() and (high >= 0).all() and not (points == 0).all(1).any():
        points = np.concatenate([points, np.zeros((1, 2))])
    values, held_values = evaluate(points), evaluate(held)
    candidates = plane(pairs(np.linspace(-1, 1, CANDIDATES)))

    def model(p: Floats, v: Floats) -> tuple[_Process | None, bool]:
        good = np.isfinite(v)
        logs = bool((v[good] > 0).all())
        return (_Process(unit(p[good]), np.log(v[good]) if logs else v[good]) if good.any() else None), logs

    def interpolant(p: Floats, v: Floats, process: _Process | None, logs: bool) -> Callable[[Floats], Floats]:
        def at(q: Floats) -> Floats:
            near = cKDTree(unit(p)).query(unit(q))[1]
            if process is None:
                return np.full(len(q), np.nan)
            found = process(unit(q))
            return np.where(np.isfinite(v[near]), np.exp(found) if logs else found, np.nan)

        return at

    def chart(v: Floats) -> Floats:
        # a linear model may dip below zero only where log is False
        return np.log(v) if log else v

    while True:
        process, logs = model(points, values)
        seen = chart(np.concatenate([values, held_values]))
        span = float(np.nanmax(seen) - np.nanmin(seen)) if np.isfinite(seen).any() else 0.0
        miss = np.abs(chart(interpolant(points, values, process, logs)(held)) - chart(held_values))
        miss = miss[np.isfinite(miss)] / (span or 1.0)
        worst = float(miss.max()) if miss.size else float("nan")
        if process is None or (span == 0 and worst <= tolerance):
            break
        u, k = unit(candidates), process.factor
        v = solve_triangular(k, _kernel(process.points, u, process.lengths), lower=True)
        d = (u**2).sum(1)
        variance = np.maximum(1 + 10 * (1 + d + d * d) - (v * v).sum(0), 0)
        scale = process.misfit(u) * (np.exp(process(u)) if logs and not log else 1.0)
        free = np.asarray(cKDTree(unit(np.concatenate([points, held]))).query(u)[0]) > 1e-6
        score = np.where(free, np.sqrt(variance) * scale, 0)
        if worst <= tolerance and score.max() <= tolerance * span:
            break
        chosen: list[int] = []
        for _ in range(min(BATCH, most - HELD_OUT - len(points))):
            best = int(np.argmax(np.where(free, np.sqrt(variance) * scale, -1)))
            if not free[best]:
                break
            new = _kernel(u[[best]], u, process.lengths)[0] - v[:, best] @ v
            new = new / np.sqrt(variance[best] + 1e-8)
            v, variance = np.vstack([v, new]), np.maximum(variance - new * new, 0)
            free[best] = False
            chosen.append(best)
        if not chosen:
            break
        points = np.concatenate([points, candidates[chosen]])
        values = np.concatenate([values, evaluate(candidates[chosen])])
    every, losses = np.concatenate([points, held]), np.concatenate([values, held_values])
    return AdaptiveSurface(
        points=every,
        values=losses,
        held_out=np.arange(len(every)) >= len(points),
        max_error=worst,
        rms_error=float(np.sqrt(np.mean(miss**2))) if miss.size else float("nan"),
        reached=bool(worst <= tolerance),
        _interpolant=interpolant(every, losses, *model(every, losses)),
    )
