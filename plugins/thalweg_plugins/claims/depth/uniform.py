"""F2: weights of size 1 to 2 explode."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

WIDTH = 256
DEPTH = 20
NETWORKS = 16
CASES = {
    "random signs": (True, True, math.log(7 * WIDTH / 6) / 2),
    "all positive": (False, True, math.log(1.5 * WIDTH)),
    "random signs, without ReLU": (True, False, math.log(7 * WIDTH / 3) / 2),
}
"""Random signs, ReLU, and the growth by layer in theory."""


class F2(LectureClaim):
    """The mean growth of ln ||h|| by layer, over the growth in theory."""

    name = "F2"
    summary = "weights +-U(1, 2) explode by ln(7n/6)/2 in each layer, positive ones by ln(1.5 n)"
    statement = "With weights larger than 1 signals explode with depth, exponentially in the number of layers."
    source = "Lecture, after equation 2; Hanin & Rolnick 2018 for the growth of mean squares"
    method = (
        "20 fully connected layers of n = 256 units without biases, followed by ReLU, in float32. Weights are +-U(1, "
        "2) with random signs and inputs from N(0, I), or U(1, 2) and inputs from U(0, 1). The growth is ln(||h_l|| / "
        "||h_(l-1)||), the mean over the layers of 16 networks of a seed, and is divided by ln(7n/6)/2 or ln(1.5 n). "
        "E w^2 = 7/3, and a ReLU halves the mean square. With positive weights a ReLU does nothing. The rule's text "
        "says linear layers; its theory for random signs, ln(7n/6)/2, is for layers with ReLU. Without ReLU the "
        "growth is ln(7n/3)/2, which is reported."
    )
    caveat = (
        "Theory is for the mean of ||h||^2; the mean of the logarithm is lower by about 5/(4n) in each layer. "
        "Gradients explode alike. Nobody starts so; He's weights of variance 2/n neither explode nor vanish (F3)."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Draw the networks of the three cases."""
        import numpy as np

        from thalweg_plugins.claims.depth._signals import generator, growths, in_groups

        rows = Measurements()
        for number, (series, (signed, relu, theory)) in enumerate(CASES.items()):
            stream = generator(602, seed, number)
            draw = partial(growths, stream, n=WIDTH, depth=DEPTH, signed=signed, relu=relu)
            found = in_groups(draw, NETWORKS)
            rows.add("growth by layer over theory", found.mean() / theory, series=series)
            norms = np.cumsum(found.mean(1)) / math.log(10)
            rows.curve("log10 of the norm's growth", range(1, DEPTH + 1), norms, series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The norm by layer."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "log10 of the norm's growth", curve=True)
        return curves(rows, "Signals with weights larger than 1", "layer", "log10(||h_l|| / ||h_0||)")
