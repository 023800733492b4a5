"""F3: mean squares of activations, their variance over networks, and residual blocks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

NETWORKS = 200
SLOPE_WIDTH, SLOPE_DEPTH = 256, 20
WIDTHS, DEPTH = (20, 40, 80), 40
RESIDUAL_WIDTH, BLOCKS = 64, (5, 10, 20, 40)


class F3(LectureClaim):
    """M_l = ||h_l||^2 / n: its mean by layer, the variance of its logarithm by width, and with residual blocks."""

    name = "F3"
    summary = "M is multiplied by var n/2 in each layer, varies less in wider networks, and residual blocks bound it"
    statement = (
        "He's initialization keeps the mean square of activations; wide layers keep it alike in all networks; "
        "residual blocks scaled by 1/L keep it bounded."
    )
    source = "Hanin & Rolnick 2018, How to start training; He et al. 2015"
    method = (
        "ReLU networks without biases, inputs from N(0, I), 200 networks of a seed, in float32. The slope of log2 of "
        "the mean of M_l in l = 0, ..., 20 at width 256, for normal weights of variance 2/n (He), of variance 1/n, "
        "and for torch's default for linear layers (uniform, variance 1/(3n)). Var[ln M_40] over networks at widths "
        "20, 40 and 80 with He's weights. Residual networks of width 64 with L = 5, 10, 20 and 40 blocks h <- h + "
        "f(h)/L, f two layers with He's weights: the largest of all ln(M_L / M_0)."
    )
    caveat = (
        "With its own biases torch's default does not fall by this factor for ever: the biases take over. Theory is "
        "for means over networks; a single deep narrow network can be far from the mean, which is what the variance "
        "shows. The rule asks that this variance falls from width 20 to 40 and to 80, not that it is proportional to "
        "the sum of 1/n."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Draw the networks of all parts."""
        import numpy as np

        from thalweg_plugins.claims.depth._signals import (
            generator,
            in_groups,
            mean_squares,
            normal,
            residual_mean_squares,
            slope,
            uniform_of_linear,
        )

        rows = Measurements()
        draws = {"He": normal(2.0), "1/fan_in": normal(1.0), "torch's default": uniform_of_linear}
        for number, (series, draw) in enumerate(draws.items()):
            made = partial(mean_squares, draw, generator(603, seed, number), n=SLOPE_WIDTH, depth=SLOPE_DEPTH)
            found = in_groups(made, NETWORKS)
            curve = np.log2(found.mean(1))
            rows.add("slope of log2 M by layer", slope(curve), series=series)
            rows.curve("log2 of the mean of M", range(len(curve)), curve, series=series)
        for n in WIDTHS:
            made = partial(mean_squares, normal(2.0), generator(603, seed, 10, n), n=n, depth=DEPTH)
            found = in_groups(made, NETWORKS)
            rows.add("Var[ln M_L]", np.log(found[-1]).var(ddof=1), series=f"n = {n}")
            spread = np.log(found[1:]).var(axis=1, ddof=1)
            rows.curve("Var[ln M] by layer", range(1, DEPTH + 1), spread, series=f"n = {n}")
        largest = []
        for blocks in BLOCKS:
            stream = generator(603, seed, 20, blocks)
            found = in_groups(partial(residual_mean_squares, stream, n=RESIDUAL_WIDTH, blocks=blocks), NETWORKS)
            growth = np.log(found / found[0])
            largest.append(float(growth[-1].max()))
            rows.curve("largest ln(M_l / M_0)", range(blocks + 1), growth.max(1), series=f"{blocks} blocks")
        name = "largest ln(M_L / M_0) of residual networks with blocks scaled by 1/L"
        rows.add(name, max(largest))
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The mean of M by layer for the three initializations."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "log2 of the mean of M", curve=True)
        return curves(rows, "Mean square of activations by layer", "layer", "log2 of the mean of M_l")
