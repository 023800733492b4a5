"""Claim K4: shortcuts make the surface of a deep network smoother."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from thalweg_plugins.claims.filters import experiments
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import trials_of

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    from torch import Tensor

    from thalweg.contracts.claim import ClaimContext, Experiment
    from thalweg_plugins.claims.networks import Network

    Floats = np.ndarray[Any, np.dtype[np.float64]]

LEVEL = 0.1
"""The training loss of the rule."""
PLANES, SIDE = 4, 25
"""Planes for each seed, and points on a side from -1 to 1."""
EXAMPLES = 256
"""Training examples, the same for all networks, on which surfaces and eigenvalues are computed."""
COARSE, STEPS = 3, 20
"""For the eigenvalues: points on a side, and steps of Lanczos' method."""
ROUNDING = 1e-12
KINDS = ("plain", "residual")


def downward(grid: Floats) -> float:
    """The share of second differences along rows and columns that are below -1e-12 of the range.

    >>> import numpy as np
    >>> downward(np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 4.0], [0.0, 1.0, 0.0]]))
    0.5
    """
    import numpy as np

    second = np.concatenate([np.diff(grid, 2, axis=axis).ravel() for axis in (0, 1)])
    return float((second < -ROUNDING * np.ptp(grid)).mean())


class Shortcuts(LectureClaim):
    """K4."""

    name = "K4"
    figure = "surfaces-with-and-without-shortcuts"
    summary = "the filter-normalised surface of a deep network bends down less often with shortcuts than without"
    statement = "Shortcuts make the loss surface of deep networks smoother: without them it is chaotic, not convex."
    source = "Li, Xu, Taylor, Studer & Goldstein 2018, section 6"
    method = (
        "MLPs with 24 layers with weights (the output layer included), 32 units wide, with batch norm, SGD at lr = "
        "0.1, batches of 64. Each network is taken at the first evaluation with a training loss of 0.1 or less. Four "
        "planes of filter-normalised random directions for each seed, 25 by 25 points from -1 to 1, the loss of 256 "
        "training examples in float64 with their batch statistics. The ratio of the smallest to the largest "
        "eigenvalue of the Hessian is a mean over 3 by 3 points of the first plane, by 20 steps of Lanczos' method on "
        "the same examples."
    )
    caveat = (
        "Dense networks on small data; Li et al. draw ResNet-56 on CIFAR-10. Batch norm's statistics follow each "
        "point. Two directions of thousands are seen. The two networks need different numbers of steps to reach the "
        "loss, and their weights may have different scales, which filter normalisation takes out. Li et al. show the "
        "absolute value of the ratio of eigenvalues; here it keeps its sign."
    )
    tiers = ("quick", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """Both networks."""
        return (experiments.shortcuts(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Shares over four planes, ratios of eigenvalues, and of the first seed one surface each."""
        import numpy as np

        from thalweg.contracts.claim import Measurements
        from thalweg_plugins.claims.networks import Network, at_training_loss

        rows = Measurements()
        experiment = experiments.shortcuts(context.tier)
        trials = trials_of(context, experiment.name, seed)
        share, ratio = "share of second differences below zero", (
            "mean ratio of smallest to largest Hessian eigenvalue over the plane"
        )  # fmt: skip
        for kind in KINDS:
            trial = trials[kind, "sgd"]
            reached = None if trial.lost else at_training_loss(trial, LEVEL)
            if reached is None:
                note = trial.lost or f"a training loss of {LEVEL} is not reached"
                rows.add(share, None, series=kind, note=note)
                rows.add(ratio, None, series=kind, note=note)
                continue
            table = experiment.content["workloads"][kind]
            network = context.once(kind, partial(Network.of, table))
            planes = directions(network, reached[1], seed)
            grids = [surface(network, reached[1], *plane) for plane in planes]
            rows.add(share, float(np.mean([downward(grid) for grid in grids])), series=kind)
            rows.add(ratio, eigenvalue_ratio(network, reached[1], *planes[0], seed=seed), series=kind)
            rows.add("steps to the training loss", reached[0], series=kind)
            if seed == context.seeds[0]:
                points = np.arange(SIDE * SIDE, dtype=float)
                rows.curve("loss on the plane", points, grids[0].ravel(), series=kind)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The first plane of both networks."""
        return planes_side_by_side(table)


def directions(network: Network, weights: Tensor, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Pairs of filter-normalised random directions."""
    import torch

    from thalweg.landscape.directions import filter_normalized, random_direction

    module = network.at(weights)
    generator = torch.Generator().manual_seed(seed)
    drawn = [filter_normalized(module, random_direction(module, generator)) for _ in range(2 * PLANES)]
    return list(zip(drawn[::2], drawn[1::2], strict=True))


def surface(network: Network, weights: Tensor, d1: Tensor, d2: Tensor) -> Floats:
    """The training loss on the plane, (25, 25), with batch statistics."""
    import numpy as np

    from thalweg.landscape import Plane, losses_at

    ticks = np.linspace(-1, 1, SIDE).tolist()
    plane = Plane(weights, d1, d2, ticks, ticks)
    losses = losses_at(network.module, network.problem, plane, "train", "batch", examples=EXAMPLES, metrics=("loss",))[
        "loss"
    ]
    found: Floats = losses.numpy().reshape(SIDE, SIDE)
    return found


def eigenvalue_ratio(network: Network, weights: Tensor, d1: Tensor, d2: Tensor, *, seed: int) -> float:
    """The mean of the smallest over the largest eigenvalue of the Hessian, over points of the plane."""
    import numpy as np
    import torch

    from thalweg.curvature import hessian, lanczos, random_start

    found = []
    generator = torch.Generator().manual_seed(seed)
    for y in np.linspace(-1, 1, COARSE):
        for x in np.linspace(-1, 1, COARSE):
            matrix = hessian(network.objective(weights + x * d1 + y * d2, EXAMPLES))
            values = lanczos(matrix.__matmul__, random_start(weights, generator), STEPS, keep_basis=False).eigenvalues()
            found.append(float(values[0] / values[-1]))
    return float(np.mean(found))


def planes_side_by_side(table: pandas.DataFrame) -> altair.TopLevelMixin:
    """Heat maps of the logarithm of the loss on the plane, one for each network."""
    import altair as alt
    import numpy as np

    from thalweg.present.charts.palette import SEQUENTIAL
    from thalweg_plugins.claims.pictures import of

    rows = of(table, "loss on the plane", curve=True)
    ticks = np.linspace(-1, 1, SIDE).round(3)
    number = rows["x"].astype(int)
    frame = rows.assign(a=ticks[number % SIDE], b=ticks[number // SIDE], log=np.log10(rows["value"]))
    chart: alt.TopLevelMixin = (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X("a:O", title="d1 (filter norms)", axis=alt.Axis(values=[-1, 0, 1], labelAngle=0)),
            y=alt.Y("b:O", title="d2 (filter norms)", sort="descending", axis=alt.Axis(values=[-1, 0, 1])),
            color=alt.Color(
                "log:Q",
                title="log10 of the loss",
                scale=alt.Scale(scheme=SEQUENTIAL),
                legend=alt.Legend(orient="bottom"),
            ),
            column=alt.Column("series:N", title=None, sort=list(KINDS)),
            tooltip=["series:N", "a:Q", "b:Q", alt.Tooltip("value:Q", title="loss", format=".3g")],
        )
        .properties(width=220, height=220, title="Planes through networks with 24 layers, first seed")
    )
    return chart
