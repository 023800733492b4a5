"""Paths of optimizers on a function of two variables: their table, and sentences about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from thalweg.errors import UserError
from thalweg.playground.requests import Ground, Plane, Walk
from thalweg.present.numbers import COUNT, GENERAL
from thalweg.present.table import Column, Table, table

SPAN = 100.0
"""Values that span more than this factor are drawn on a log scale."""


def path_frame(walks: Mapping[str, Walk]) -> pd.DataFrame:
    """Every point of every path: optimizer, step, x, y, loss."""
    parts = [
        pd.DataFrame(
            {
                "optimizer": label,
                "step": range(len(walk.points)),
                "x": [x for x, _ in walk.points],
                "y": [y for _, y in walk.points],
                "loss": walk.losses,
            }
        )
        for label, walk in walks.items()
        if walk.points
    ]
    columns = ["optimizer", "step", "x", "y", "loss"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def outcome_table(walks: Mapping[str, Walk], ground: Ground, rates: Mapping[str, str]) -> Table:
    """A row for each path: rate, steps, how it ended, last loss, distance to the nearest known minimum."""
    rows = [
        {
            "optimizer": label,
            "lr": rates.get(label, "–"),
            "ended": walk.status,
            "steps": walk.steps,
            "loss": walk.losses[-1] if walk.losses else math.nan,
            "distance": _distance(walk, ground),
        }
        for label, walk in walks.items()
    ]
    columns = [
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column("lr", "learning rate", lambda row: row["lr"], kind="text"),
        Column("ended", "ended", lambda row: row["ended"], kind="text"),
        Column("steps", "steps", lambda row: row["steps"], COUNT),
        Column("loss", "final loss", lambda row: row["loss"], GENERAL),
        Column(
            "distance",
            "distance to a minimum",
            lambda row: row["distance"],
            GENERAL,
            help="from the last point to the nearest known global minimizer",
            when=bool(ground.minimizers),
        ),
    ]
    return table(columns, pd.DataFrame(rows))


def _distance(walk: Walk, ground: Ground) -> float:
    if not walk.points or not ground.minimizers:
        return math.nan
    return min(math.dist(walk.points[-1], minimizer) for minimizer in ground.minimizers)


def endings(walks: Mapping[str, Walk]) -> list[str]:
    """A sentence for each path that ended before its last step."""
    said = []
    for label, walk in walks.items():
        match walk.status:
            case "diverged" if walk.losses:
                said.append(f"{label} diverged at step {walk.steps}, with a loss of {walk.losses[-1]:.4g}.")
            case "diverged":
                said.append(f"{label} diverged: {walk.reason}.")
            case "left":
                said.append(f"{label} left the grid of the plane {walk.reason}; nothing is known outside of it.")
            case "failed":
                said.append(f"{label} failed after {walk.steps} steps: {walk.reason}")
    return said


def on_log_scale(walks: Mapping[str, Walk]) -> bool:
    """Whether the losses of paths are drawn on a log scale: none is below zero, and positive ones span a decade."""
    losses = [loss for walk in walks.values() for loss in walk.losses if math.isfinite(loss)]
    positive = [loss for loss in losses if loss > 0]
    return len(positive) > 0 and min(losses) >= 0 and max(positive) >= 10 * min(positive)


def remarks(walks: Mapping[str, Walk], ground: Ground) -> list[str]:
    """Sentences on what the pictures cannot show: points beside the picture, and losses of zero on a log scale."""
    said = []
    log = on_log_scale(walks)
    for label, walk in walks.items():
        outside = next((step for step, point in enumerate(walk.points) if not _inside(point, ground)), None)
        if outside is not None and walk.status != "left":
            said.append(f"{label} leaves the picture at step {outside}.")
        if log and 0.0 in walk.losses:
            step = walk.losses.index(0.0)
            said.append(f"{label} has a loss of exactly 0 at step {step}, which a log scale cannot show.")
    return said


def _inside(point: tuple[float, float], ground: Ground) -> bool:
    x, y = point
    return ground.x[0] <= x <= ground.x[-1] and ground.y[0] <= y <= ground.y[-1]


def spans_decades(losses: Sequence[Sequence[float]]) -> bool:
    """Whether values are drawn on a log scale: none is below zero, and the positive ones span a factor of 100.

    The lowest hundredth of the values is left out, since a minimum of zero is any number of decades deep.
    """
    values = np.asarray(losses, dtype=float)
    values = values[np.isfinite(values)]
    if values.size == 0 or (values < 0).any() or not (values > 0).any():
        return False
    positive = values[values > 0]
    return bool(positive.max() > SPAN * np.quantile(positive, 0.01))


def plane_of(measured: pd.DataFrame, draw: int) -> Plane:
    """The grid of one plane of a surface probe.

    A path starts at the projection of the trial's first weights, where the grid holds it and at least half of their
    displacement lies in the plane; else three quarters of the way from the middle to the upper right corner.

    Raises:
        UserError: the table has no whole grid.
    """
    needed = {"kind", "draw", "x", "y", "loss"}
    if missing := sorted(needed - set(measured.columns)):
        raise UserError(f"the probe's table has no column {missing[0]!r}, so it is no surface")
    rows = measured[measured["draw"] == draw]
    cells = rows[rows["kind"] == "grid"].drop_duplicates(["x", "y"])
    square = cells.pivot_table(index="y", columns="x", values="loss", dropna=False)
    x, y = square.columns.to_numpy(float), square.index.to_numpy(float)
    if min(len(x), len(y)) < 2 or len(cells) != len(x) * len(y):
        raise UserError("the probe's table has no whole grid of losses")
    losses = square.to_numpy(float)
    log = bool((losses > 0).all()) and (rows["scale"].iloc[0] == "log" if "scale" in rows else True)
    way = rows[rows["kind"] == "path"]
    start = (x[0] + 7 * x[-1]) / 8, (y[0] + 7 * y[-1]) / 8
    if "step" in way and len(way) > 1:
        first = way.sort_values("step").iloc[0]
        lies_in_it = "in_plane" not in rows or first["in_plane"] >= 0.5
        if lies_in_it and x[0] <= first["x"] <= x[-1] and y[0] <= first["y"] <= y[-1]:
            start = first["x"], first["y"]
    return Plane(
        x=tuple(x.tolist()),
        y=tuple(y.tolist()),
        losses=tuple(map(tuple, losses.tolist())),
        log=bool(log),
        start=(float(start[0]), float(start[1])),
    )


def plane_caption(plane: Plane) -> str:
    """What the steps on a plane use."""
    what = "logarithm of the loss, of which the exponential is taken" if plane.log else "loss"
    return (
        "The optimizers step on the trial's training loss restricted to the plane, with full gradients, and not on the "
        f"network. Between the {len(plane.x)} × {len(plane.y)} measured points the loss is a bicubic spline of the "
        f"{what}. Outside of the grid nothing is known, so a path that leaves it ends there."
    )


def function_caption(steps: int) -> str:
    """What the steps on an analytic function use."""
    return (
        f"Each path has the weights of a trial in float64 with seed 0 after each of {steps} steps: the trial's own "
        "step loop makes the steps, with full gradients. The other hyperparameters have their defaults."
    )
