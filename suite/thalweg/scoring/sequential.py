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
    for count in range(1, 100):
        first = ALPHA * (1 - FALL) / (1 - FALL**count)
        seeds = [next(n for n in range(1, 1000) if smallest_p(n, paired) <= first / max(rows, 1) * (1 + 1e-9))]
        while len(seeds) < count:
            seeds.append(math.ceil(seeds[-1] * GROWTH))
        if seeds[-1] * math.sqrt(GROWTH) >= cap:
            break
    if seeds[0] > cap:
        told = "a row takes" if rows == 1 else f"{rows} rows take"
        raise UserError(f"--max-seeds {cap}: {told} at least {seeds[0]} seeds to show a difference")
    seeds = [n for n in seeds if n < cap] + [cap]
    differ = [FALL**k for k in range(len(seeds))]
    return [
        Look(n, Levels(ALPHA * share / sum(differ), ALPHA * n / sum(seeds)))
        for n, share in zip(seeds, differ, strict=True)
    ]
