"""Simulates the error rates of docs/scoring.md, and rewrites its tables.

``python docs/coverage.py`` simulates every table in a minute; ``python docs/coverage.py ranks`` the named ones.
With ``--check`` the page is compared and not written. Every simulation is seeded.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from scipy.stats import bootstrap, studentized_range

from thalweg.scoring.pooled import interquartile_mean, pooled
from thalweg.scoring.profiles import profile_score
from thalweg.scoring.ranks import ALPHA, Sample, certain, p_of_means, rejected

Array = np.ndarray[Any, Any]

PAGE = Path(__file__).parent / "scoring.md"
REPETITIONS = 600
TABLES = 2000
"""Simulated leaderboards for each rate."""
OPTIMIZERS, SEEDS = (2, 9, 20), (3, 5, 10, 20)


def means() -> str:
    """The coverage of intervals of the mean of n normal numbers."""
    rows = []
    for n in (3, 5, 10):
        draw = np.random.default_rng(n)
        values = draw.normal(size=(20_000, n))
        half = stdtrit(n - 1, 0.975) * values.std(-1, ddof=1) / n**0.5
        covered = dict.fromkeys(("percentile", "BCa"), 0)
        for _ in range(REPETITIONS):
            few = draw.normal(0, 1, n)
            for method in covered:
                found = bootstrap((few,), np.mean, method=method, n_resamples=999, rng=draw).confidence_interval
                covered[method] += int(found.low <= 0 <= found.high)
        shares = [(np.abs(values.mean(-1)) <= half).mean(), *(count / REPETITIONS for count in covered.values())]
        rows.append([n, *(f"{share:.2f}" for share in shares)])
    return _table(["seeds", "t", "percentile bootstrap", "BCa bootstrap"], rows)


def interquartile_means() -> str:
    """The coverage of pooled scores.

    The means of workloads go from 0.2 to 0.8. Seeds are normal around them with standard deviation 0.05.
    """
    columns = []
    for workloads, seeds in ((7, 3), (20, 3), (4, 5), (12, 5), (2, 10)):
        draw = np.random.default_rng([workloads, seeds])
        centres = np.linspace(0.2, 0.8, workloads)
        # the average over many experiments of this size
        many = draw.normal(np.repeat(centres, seeds), 0.05, (20_000, workloads * seeds))
        truth = float(np.mean(interquartile_mean(many)))
        names = ["optimizer", "seed", "workload"]
        index = pd.MultiIndex.from_product([["x"], range(seeds), range(workloads)], names=names)
        covered = 0
        for _ in range(REPETITIONS):
            values = draw.normal(centres, 0.05, (seeds, workloads)).ravel()
            row = pooled(pd.Series(values, index)).means.iloc[0]
            covered += int(row["low"] <= truth <= row["high"])
        columns.append([workloads, seeds, f"{covered / REPETITIONS:.2f}"])
    head, *rows = zip(["workloads", "seeds on each", "coverage"], *columns, strict=True)
    return _table(head, rows)


def profile_coverage() -> str:
    """The coverage of a percentile bootstrap of the profile score, averaged over five optimizers.

    Costs are log-normal: their logarithms have standard deviation 0.3 over seeds. The medians of the optimizers are
    equal, or drawn uniformly from 1 to 1.5 or from 1 to 3.
    """
    sizes = ((4, 3), (4, 5), (4, 10), (12, 5), (12, 20))
    rows = []
    for most in (1.0, 1.5, 3.0):
        shares = []
        for workloads, seeds in sizes:
            draw = np.random.default_rng([workloads, seeds, int(10 * most)])
            covered = []
            for _ in range(REPETITIONS // 3):
                slower = draw.uniform(1, most, (5, workloads))
                truth = profile_score(slower / slower.min(0))
                costs = slower[..., None] * np.exp(0.3 * draw.normal(size=(5, workloads, seeds)))
                again = draw.integers(seeds, size=(200, 5, workloads, seeds))
                medians = np.median(np.take_along_axis(costs[None], again, -1), -1)
                low, high = np.quantile(profile_score(medians / medians.min(1, keepdims=True)), [0.025, 0.975], axis=0)
                covered.append((low <= truth) & (truth <= high))
            shares.append(f"{np.mean(covered):.2f}")
        rows.append([f"from 1 to {most:g}" if most > 1 else "equal", *shares])
    return _table(["medians", *(f"{a} workloads, {b} seeds" for a, b in sizes)], rows)


def equal(kind: str, optimizers: int, seeds: int, tables: int = TABLES) -> Array:
    """Values (tables, optimizers, seeds) of optimizers whose means are equal."""
    draw = np.random.default_rng([optimizers, seeds])
    if kind == "heavy tails":
        return draw.standard_t(3, size=(tables, optimizers, seeds))
    values = draw.normal(size=(tables, optimizers, seeds))
    spreads = np.geomspace(1, 30, optimizers)[:, None]
    match kind:
        case "normal":
            return values
        case "normal, spreads from 1 to 30":
            return values * spreads
        case "skewed":
            return np.exp(values)
        case "shared seeds":
            return 0.3**0.5 * values + 0.7**0.5 * draw.normal(size=(tables, 1, seeds))
        case "one of two evaluations":
            return np.where(values > 0, 1.0, 2.0)
        case "opposite seeds":
            side = np.where(np.arange(optimizers) % 2, 1, -1)[:, None]
            return 0.5**0.5 * values + 0.5**0.5 * side * draw.normal(size=(tables, 1, seeds))
        case "skewed, spreads from 1 to 30":
            return (np.exp(values) - np.exp(0.5)) * spreads
    raise ValueError(kind)


def simultaneous(kind: str, optimizers: int, seeds: int) -> float:
    """The share of tables of equal optimizers in which ``scoring.ranks`` calls an optimizer certainly better."""
    if kind == "30% of seeds lost":
        return _lost(optimizers, seeds)
    values = equal(kind, optimizers, seeds)
    # neighbouring evaluations are 1 apart
    spread = np.maximum(values.std(-1, ddof=1), 0.5 if kind == "one of two evaluations" else 0.0)
    return _share(rejected(p_of_means(values.mean(-1), spread, np.full(optimizers, seeds))))


def _lost(optimizers: int, seeds: int, tables: int = TABLES // 4) -> float:
    draw = np.random.default_rng([optimizers, seeds, 30])
    claims = 0
    for _ in range(tables):
        kept = draw.random((optimizers, seeds)) >= 0.3
        values = draw.normal(size=(optimizers, seeds))
        samples = [Sample(row[there], int((~there).sum())) for row, there in zip(values, kept, strict=True)]
        claims += bool(certain(samples).any())
    return claims / tables


def games_howell(kind: str, optimizers: int, seeds: int) -> float:
    """The same by Games & Howell (1976): the studentized range with the degrees of freedom of Welch's test."""
    values = equal(kind, optimizers, seeds)
    variance = values.var(-1, ddof=1) / seeds
    both = variance[..., :, None] + variance[..., None, :]
    square = variance**2 / (seeds - 1)
    freedom = both**2 / (square[..., :, None] + square[..., None, :])
    at = np.geomspace(seeds - 1, 2 * (seeds - 1), 12)
    quantile = np.interp(freedom, at, studentized_range.ppf(1 - ALPHA, optimizers, at)) / 2**0.5
    mean = values.mean(-1)
    return _share(np.abs(mean[..., :, None] - mean[..., None, :]) > quantile * np.sqrt(both))


def overlap(kind: str, optimizers: int, seeds: int) -> float:
    """The same by 95% t-intervals that do not overlap."""
    values = equal(kind, optimizers, seeds)
    half = stdtrit(seeds - 1, 0.975) * values.std(-1, ddof=1) / seeds**0.5
    low, high = values.mean(-1) - half, values.mean(-1) + half
    return _share(low.max(-1) > high.min(-1))


ROWS: list[tuple[str, str, Callable[[str, int, int], float]]] = [
    ("thalweg", "normal", simultaneous),
    ("thalweg", "normal, spreads from 1 to 30", simultaneous),
    ("thalweg", "heavy tails", simultaneous),
    ("thalweg", "skewed", simultaneous),
    ("thalweg", "shared seeds", simultaneous),
    ("thalweg", "one of two evaluations", simultaneous),
    ("thalweg", "30% of seeds lost", simultaneous),
    ("thalweg", "opposite seeds", simultaneous),
    ("thalweg", "skewed, spreads from 1 to 30", simultaneous),
    ("Games & Howell", "normal", games_howell),
    ("overlap", "normal", overlap),
]
"""The method, the values, and the function that simulates both."""


def rank_row(method: str, kind: str, simulate: Callable[[str, int, int], float]) -> list[str]:
    """One row of the table of ranks: percentages by the numbers of optimizers and seeds."""
    return [method, kind, *(f"{100 * simulate(kind, k, n):.1f}" for k in OPTIMIZERS for n in SEEDS)]


def ranks() -> str:
    """The percentage of tables of equal optimizers that make a false claim."""
    head = ["method", "values", *(f"{k}, {n}" for k in OPTIMIZERS for n in SEEDS)]
    return _table(head, [rank_row(*row) for row in ROWS])


def _share(claims: Array) -> float:
    """The share of tables with any claim."""
    return float(claims.reshape(len(claims), -1).any(1).mean())


def _table(head: Any, rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "ranks": ranks,
    "means": means,
    "profile": profile_coverage,
    "pooled": interquartile_means,
}


def block(text: str, name: str) -> str:
    """The block of a page between its two markers."""
    begin, end = f"<!-- generated by docs/coverage.py: {name} -->\n", f"<!-- end: {name} -->"
    return text.split(begin, 1)[1].split(end, 1)[0]


def main(arguments: list[str]) -> int:
    """Rewrite the named blocks of the page, or all; with ``--check`` compare them. 1 where a block differs."""
    text = PAGE.read_text(encoding="utf-8")
    status = 0
    for name in [argument for argument in arguments if argument != "--check"] or BLOCKS:
        old, new = block(text, name), f"\n{BLOCKS[name]()}\n\n"
        if "--check" in arguments and old != new:
            print(f"{name} of {PAGE.name} is not what python docs/coverage.py writes", file=sys.stderr)  # noqa: T201
            status = 1
        elif old != new:
            marker = f"<!-- generated by docs/coverage.py: {name} -->\n"
            text = text.replace(marker + old, marker + new)
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1:]))
