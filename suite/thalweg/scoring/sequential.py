"""A plan for adding seeds until a comparison is decided, fixed before the first seed is trained."""

from __future__ import annotations

import math
from typing import NamedTuple

from thalweg.errors import UserError
from thalweg.scoring.judge import ALPHA, Levels
from thalweg.scoring.rerandomised import MOST

FALL = 0.7
"""The level for a difference, as a share of that at the look before: early looks find large losses with few seeds."""
GROWTH = 1.35
"""The seeds of a look over those of the look before."""


class Look(NamedTuple):
    """A look at the results."""

    seeds: int
    levels: Levels


def smallest_p(seeds: int, paired: bool = True) -> float:
    """The smallest p-value of so many seeds of each side: one of 2^n choices of signs, or of (2n choose n) exchanges.

    >>> smallest_p(5), smallest_p(5, paired=False)
    (0.03125, 0.003968253968253968)
    """
    return max(2.0**-seeds if paired else 1 / math.comb(2 * seeds, seeds), 1 / (MOST + 1))


def plan_looks(rows: int, cap: int, paired: bool = True) -> list[Look]:
    """The looks at ``rows`` rows of at most ``cap`` seeds: how many seeds each sees, and its error rates.

    The error rates of all looks add up to ``ALPHA``: so whatever the looks see, the probability that any look calls a
    row worse that is not worse by more than its margin is at most ``ALPHA`` (alpha spending by Bonferroni's inequality;
    Lan & DeMets 1983, Biometrika 70, spend less carefully where they know the joint distribution). Rates for a
    difference fall by ``FALL`` from look to look. Rates for "same" grow in proportion to the seeds, since only many
    seeds can show it. The first look has the fewest seeds that can show a difference: their smallest p-value
    is at most its rate over the rows.

    Args:
        rows: the rows that are compared.
        cap: the most seeds of each side.
        paired: whether equal seeds of both sides are pairs.

    Raises:
        UserError: the cap is too small for any look to show a difference.
    """
    hypotheses = max(rows, 1)
    seeds = _seeds(hypotheses, cap, paired)
    if not seeds:
        told = "a row takes" if rows == 1 else f"{rows} rows take"
        least = _fewest(ALPHA / hypotheses, paired, 1000)
        needed = f"at least {least} seeds" if least else "more seeds than the test can use"
        raise UserError(f"--max-seeds {cap}: {told} {needed} to show a difference")
    differ = [FALL**k for k in range(len(seeds))]
    return [
        Look(n, Levels(ALPHA * share / sum(differ), ALPHA * n / sum(seeds)))
        for n, share in zip(seeds, differ, strict=True)
    ]


def _seeds(hypotheses: int, cap: int, paired: bool) -> list[int]:
    """The seeds of each look; empty where not even all of them can show a difference."""
    for count in range(1, 100):
        first = _fewest(ALPHA * (1 - FALL) / (1 - FALL**count) / hypotheses, paired, cap)
        if first is None:
            break
        # fewer looks than supposed leave each of them a higher rate
        if len(seeds := _growing(first, cap)) <= count:
            return seeds
    return [cap] if _fewest(ALPHA / hypotheses, paired, cap) else []


def _fewest(level: float, paired: bool, cap: int) -> int | None:
    """The fewest seeds whose smallest p-value is at most a level; None where ``cap`` seeds are too few."""
    return next((n for n in range(1, cap + 1) if smallest_p(n, paired) <= level * (1 + 1e-9)), None)


def _growing(first: int, cap: int) -> list[int]:
    """Numbers of seeds from the first to the cap; the last but one is not close to the cap."""
    seeds = [first]
    while (following := math.ceil(seeds[-1] * GROWTH)) * math.sqrt(GROWTH) < cap:
        seeds.append(following)
    return seeds if seeds[-1] == cap else [*seeds, cap]
