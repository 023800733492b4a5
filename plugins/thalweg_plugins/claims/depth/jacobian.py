"""F1: ReLU halves the squared norm of the Jacobian in each layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

NETWORKS = 64
WIDTHS = (64, 256)
DEPTHS = (20, 40)


class F1(LectureClaim):
    """The slope of log2 E||J_l||_F^2 in the layer l."""

    name = "F1"
    summary = "with orthogonal weights ReLU halves E||J||^2 in each layer; gain sqrt 2 keeps it"
    statement = (
        "In deep ReLU networks with orthogonal weights gradients vanish: each layer halves their squared norm. A gain "
        "of sqrt 2, or no ReLU, keeps it."
    )
    source = "He et al. 2015; Saxe et al. 2014; lecture equation 2, with the activations' signs before the ReLU"
    method = (
        "Networks of n units and L layers without biases, uniform random orthogonal weights and inputs from N(0, I), "
        "in float32. J_l = D_l W_l J_(l-1) is the Jacobian of layer l's output in the input, with D_l = 1 where the "
        "pre-activation is positive. The mean of ||J_l||_F^2 over 64 networks of a seed, and the least-squares slope "
        "of its log2 over the layers 1 to L. The first 20 layers of the networks of 40 layers are the networks of 20 "
        "layers. The three series have the same weights; a gain of sqrt 2 multiplies ||J_l||_F^2 by 2^l, because it "
        "changes no sign. A test compares J with automatic differentiation of the registered deep-mlp."
    )
    caveat = (
        "The lecture defines D by the values after the ReLU, which are never negative, so that D would be the "
        "identity. The mean of the norm says nothing of single singular values, which spread with depth for ReLU "
        "(Pennington et al. 2017)."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Draw the networks of both widths."""
        import numpy as np

        from thalweg_plugins.claims.depth._signals import SERIES, generator, in_groups, slope, squared_jacobians

        rows = Measurements()
        for n in WIDTHS:
            stream = generator(601, seed, n)
            found = in_groups(partial(squared_jacobians, stream, n=n, depth=max(DEPTHS)), NETWORKS)
            for series, norms in zip(SERIES, found, strict=True):
                curve = np.log2(norms.mean(1))
                for depth in DEPTHS:
                    setting = f"n = {n}, L = {depth}"
                    rows.add("slope of log2 E||J||_F^2 by layer", slope(curve[:depth]), setting=setting, series=series)
                setting = f"n = {n}"
                rows.curve(
                    "log2 E||J||_F^2 / n", range(1, len(curve) + 1), curve - np.log2(n), setting=setting, series=series
                )
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """E||J||_F^2 by layer, for n = 256."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "log2 E||J||_F^2 / n", curve=True)
        rows = rows[rows["setting"] == "n = 256"]
        return curves(rows, "The Jacobian's norm by layer, n = 256", "layer", "log2(E||J||_F^2 / n)")
