"""Claims J2 and J3: the roughness of the loss along random and gradient directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.line import experiments
from thalweg_plugins.claims.line.experiments import BASE, SGD
from thalweg_plugins.claims.trained import trials_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, Experiment, Measurements

SOURCE = "Li, Tai, Singh & Michaud 2018 (unpublished), as the lecture reports it; compare Goodfellow et al. 2014"
METHOD = (
    "The training loss in float64 at 101 points from -1/2 to 1/2 norms of the weights, along unit directions, at "
    "initialization and after training with SGD at lr = 0.1. Roughness is the share of second differences below "
    "-1e-12 of the range. "
)
SHARE = "share of second differences below -1e-12 of the range"


def lines_of(table: pandas.DataFrame, direction: str, depth: int, trained: bool) -> list[pandas.Series]:
    """The losses by distance t of all draws of a direction, at the start or after training."""
    rows = table[(table["direction"] == direction) & (table["depth"] == depth) & ((table["step"] > 0) == trained)]
    return [part.sort_values("t").set_index("t")["loss"] for _, part in rows.groupby("draw")]


def add_roughness(rows: Measurements, lines: list[pandas.Series], series: str) -> None:
    """Add the mean roughness over draws, the other measures of shape, and the first line for the picture."""
    import numpy as np

    from thalweg.landscape.shape import roughness

    found = [roughness(line.to_numpy(float), float(line.index[1] - line.index[0])) for line in lines]
    rows.add(SHARE, float(np.mean([each.concave for each in found])), series=series)
    rows.add("range of the loss", float(np.mean([each.range for each in found])), series=series)
    rows.add("excess of the total variation", float(np.mean([each.excess_variation for each in found])), series=series)
    rows.add("curvature at 0", float(np.mean([each.curvature for each in found])), series=series)
    rows.curve("training loss", lines[0].index.to_numpy(float), lines[0].to_numpy(float), series=series)


def picture(table: pandas.DataFrame, title: str) -> altair.TopLevelMixin:
    """The loss along the first draw of each direction."""
    from thalweg_plugins.claims.pictures import curves, of

    rows = of(table, "training loss", curve=True)
    rows = rows[rows["seed"] == rows["seed"].min()]
    return curves(
        rows, title, "distance t (norms of the weights)", "training loss (nats)", log_y=True, bands=False
    )  # fmt: skip


class FirstLayer(LectureClaim):
    """J2."""

    name = "J2"
    summary = "the loss is rougher along random directions of the first layer than of the last"
    statement = "The loss is rougher in the weights of the first layer than in those of the last layer."
    source = SOURCE
    method = (
        METHOD + "Ten random directions in the weights of one layer alone, in norms of this layer; the mean counts."
    )
    caveat = (
        "Along the last layer's weights the cross-entropy is convex (J1), so its share is zero by a theorem, and the "
        "claim says that the share of the first layer is above 5%. The network has three layers."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """SGD with the loss along directions."""
        return (experiments.directions(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The mean roughness over ten directions in each layer."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trial = trials_of(context, experiments.directions(context.tier).name, seed)[BASE, SGD]
        table = trial.table("directions")
        for layer, depth in (("first layer", 1), ("last layer", int(table["depth"].max()))):
            for moment, trained in (("initialization", False), ("trained", True)):
                lines = lines_of(table, "layer, random", depth, trained)
                add_roughness(rows, lines, f"{layer}, {moment}")
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss along one direction of each layer."""
        return picture(table, "Random directions of one layer")


class GradientDirection(LectureClaim):
    """J3."""

    name = "J3"
    figure = "figure-4-random-and-gradient-directions"
    summary = "the loss is rough along the gradient and smooth along random directions"
    statement = "Along random directions the loss is smooth, along the gradient it is rough."
    source = SOURCE
    method = (
        METHOD
        + "The gradient is that of all training examples. Ten random directions over all layers; the mean counts."
    )
    caveat = (
        "A random direction in thousands of dimensions is nearly orthogonal to all that matters, so that the loss "
        "along it is close to an average. Both directions have the same length."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """SGD with the loss along directions."""
        return (experiments.directions(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The roughness along the gradient, and the mean over ten random directions."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trial = trials_of(context, experiments.directions(context.tier).name, seed)[BASE, SGD]
        table = trial.table("directions")
        for moment, trained in (("initialization", False), ("trained", True)):
            add_roughness(rows, lines_of(table, "total gradient", 0, trained), f"gradient, {moment}")
            add_roughness(rows, lines_of(table, "random", 0, trained), f"random, {moment}")
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss along the gradient and along one random direction."""
        return picture(table, "Random and gradient directions")
