"""Claims I1 to I3: the loss on the straight line from the start of a training to its end."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.line import experiments
from thalweg_plugins.claims.line.experiments import BASE, LEVELS, NETWORKS, SGD
from thalweg_plugins.claims.trained import trials_of

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas

    from thalweg.contracts.claim import ClaimContext, Experiment, MeasuredTrial, Measurements

SOURCE = "Goodfellow, Vinyals & Saxe 2014, Qualitatively characterizing neural network optimization problems, section 3"
METHOD = (
    "The full training loss at 101 evenly spaced points on the line from the initial to the final weights, of an MLP "
    "without normalisation under SGD at lr = 0.1 with batches of 32. "
)
PLATEAU = 0.1
"""The share of the drop by which the loss has fallen at the end of the plateau."""


def line_of(trial: MeasuredTrial) -> pandas.Series:
    """The training loss by position t."""
    table = trial.table("line")
    rows = table[table["metric"] == "loss"].sort_values("t")
    found: pandas.Series = rows.set_index("t")["value"]
    return found


def plateau(losses: np.ndarray[Any, Any]) -> float:
    """The share of the points before the loss has fallen by a tenth of its drop.

    >>> import numpy as np
    >>> plateau(np.array([1.0, 1.2, 0.95, 0.5, 0.0]))
    0.6
    """
    import numpy as np

    drop = losses[0] - losses[-1]
    fallen = np.flatnonzero(losses <= losses[0] - PLATEAU * drop)
    return float(fallen[0] / len(losses)) if drop > 0 and len(fallen) else math.nan


def add_shape(rows: Measurements, trial: MeasuredTrial, quantities: Iterable[str], setting: str = "") -> None:
    """Add quantities of a line's shape, and its curve for the picture."""
    from thalweg.landscape.shape import line_shape

    if trial.lost:
        for quantity in quantities:
            rows.add(quantity, None, setting=setting, note=trial.lost)
        return
    line = line_of(trial)
    losses = line.to_numpy(float)
    shape = line_shape(losses)
    found = {
        "monotone fraction": shape.monotone,
        "bump": shape.bump,
        "share of second differences below -1e-4 of the drop": 1 - shape.convex,
        "largest excess over the chord": shape.chord_excess,
        "plateau share": plateau(losses),
    }
    for quantity in quantities:
        missing = "" if math.isfinite(found[quantity]) else "a loss is not finite, or the loss does not fall"
        rows.add(quantity, found[quantity], setting=setting, note=missing)
    rows.curve(
        "training loss", line.index.to_numpy(float), losses, setting=setting, series=setting or "SGD at lr = 0.1"
    )


def picture(table: pandas.DataFrame, title: str) -> altair.TopLevelMixin:
    """The loss along the line, one curve for each setting."""
    from thalweg_plugins.claims.pictures import curves, of

    return curves(
        of(table, "training loss", curve=True), title, "position t (0: start, 1: end)", "training loss (nats)",
        log_y=True,
    )  # fmt: skip


class Monotone(LectureClaim):
    """I1."""

    name = "I1"
    figure = "figure-3-line-from-start-to-finish"
    summary = "the loss falls all the way on the straight line from start to finish of SGD"
    statement = "On the straight line from the initial weights to the final weights, the loss falls without a bump."
    source = SOURCE
    method = (
        METHOD + "The monotone fraction is the share of steps that do not rise. The bump is the largest rise above "
        "the least loss so far, as a share of the drop from start to end."
    )
    caveat = (
        "Lucas et al. 2021 find lines that are not monotone for large rates, Adam and batch norm: see I3. Frankle "
        "2020 finds on larger networks that the loss stays high until near the end of the line. SGD's own path is far "
        "from this line."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """SGD on the plain network."""
        return (experiments.paths(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The shape of the line."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trial = trials_of(context, experiments.paths(context.tier).name, seed)[BASE, SGD]
        add_shape(rows, trial, ("monotone fraction", "bump", "largest excess over the chord", "plateau share"))
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss along the line."""
        return picture(table, "From start to finish of SGD")


class Convex(LectureClaim):
    """I2."""

    name = "I2"
    summary = "the loss is convex on the straight line from start to finish of SGD"
    statement = "The loss on the straight line from start to finish looks like a convex function."
    source = SOURCE
    method = METHOD + "A second difference below -1e-4 of the drop counts as a bend downwards."
    caveat = (
        "Goodfellow et al. speak of an approximately convex shape. A plateau at the start, where networks begin near "
        "a saddle, ends in a bend downwards. Frankle 2020 finds such plateaus on larger networks."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """SGD on the plain network."""
        return (experiments.paths(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The share of second differences that bend downwards."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trial = trials_of(context, experiments.paths(context.tier).name, seed)[BASE, SGD]
        add_shape(rows, trial, ("share of second differences below -1e-4 of the drop", "plateau share"))
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss along the line."""
        return picture(table, "Convex from start to finish?")


class OtherLines(LectureClaim):
    """I3."""

    name = "I3"
    summary = "where the line from start to finish stays monotone: large rates, Adam, batch norm, depth"
    statement = "The line from start to finish is monotone also for larger rates, Adam, batch norm and deeper networks."
    source = "Lucas, Bae, Zhang, Fort, Zemel & Grosse 2021, Analyzing monotonic linear interpolation; the statement: I1"
    method = (
        METHOD + "Each level changes one thing. With batch norm the statistics are those of all training examples at "
        "each point."
    )
    caveat = (
        "Lucas et al. 2021 trace lines that are not monotone to large distances in weight space. The statistics of "
        "batch norm change its line: running statistics of the end give another one."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """Other optimizers, and other networks."""
        return experiments.optimizers(tier), experiments.networks(tier)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The shapes of the lines of all levels."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        others = trials_of(context, experiments.optimizers(context.tier).name, seed)
        networks = trials_of(context, experiments.networks(context.tier).name, seed)
        found = {level: others[BASE, label] for level, label in LEVELS.items()}
        found |= {level: networks[workload, SGD] for level, workload in NETWORKS.items()}
        for level, trial in found.items():
            add_shape(rows, trial, ("monotone fraction", "bump", "largest excess over the chord"), level)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss along all lines."""
        return picture(table, "From start to finish, other trainings")
