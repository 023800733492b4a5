"""The loss on a plane through the trained weights, with the optimizer's path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe

if TYPE_CHECKING:
    import altair
    import pandas
    from torch import Tensor

    from thalweg.contracts.probe import ProbeContext

LEVELS = 14


class Surface(Probe):
    """L(w_T + x d1 + y d2) on a square grid centred on the trained weights w_T, over the whole training split.

    ``directions = "random"``: d1 and d2 are standard normal, each filter rescaled to the norm of the trained filter;
    x and y run from -extent to extent. ``"path"``: the two leading principal components of the path from w_T, of unit
    length, and the square holds the whole projected path; x and y are then distances in weight space. The path is
    projected onto the plane by least squares, and ``in_plane`` tells which share of its displacement lies in it: a
    random plane sees next to nothing of a path.
    """

    name = "surface"
    summary = "loss on a filter-normalised plane through the trained weights, with the optimizer's path"
    equation = "L(w_T + x d1 + y d2),  d_f <- d_f / ||d_f|| ||w_f|| for each filter f"
    source = "Li et al. 2018, sections 4 and 7"
    when = ("end",)
    needs = ("final", "trajectory")
    options = (
        Option("resolution", 25, "[3, inf)", "points a side; odd, so that the trained weights are one of them"),
        Option("extent", 1.0, "(0, inf)", "half a side, for random directions"),
        Option("directions", "random", ("random", "path"), "what spans the plane"),
        Option("batch_norm", "running", ("running", "batch"), "batch norm's statistics: as trained, or of each point"),
        Option("scale", "log", ("log", "linear"), "scale of the contours"),
    )
    columns = (
        Column("kind", "", "grid, or path for the optimizer's own points"),
        Column("x", "filter norms, or distance", "along d1"),
        Column("y", "filter norms, or distance", "along d2"),
        Column("loss", "", "training loss there; on the path, at the point itself and not at its projection"),
        Column("step", "steps", "of a path's point; missing on the grid"),
        Column("in_plane", "", "share of a path point's distance from the trained weights that lies in the plane"),
        Column("scale", "", "scale of the contours: log or linear"),
        Column("directions", "", "random or path"),
    )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """The trained weights must be a point of the grid."""
        resolution = options["resolution"]
        return None if resolution % 2 else f"resolution = {resolution} is even: the trained weights are not on the grid"

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Evaluate the grid and the path."""
        import pandas as pd

        from thalweg.landscape.evaluate import Plane, flat_from, losses_at

        final, path = context.weights.final, context.weights.trajectory
        assert final is not None
        assert path is not None
        resolution = context.options["resolution"]
        center = flat_from(context.module, final)
        offsets = path.to(center) - center
        d1, d2, extent = self._plane(context, offsets)
        half = resolution // 2
        ticks = tuple(extent * (i - half) / half for i in range(resolution))
        mode = context.options["batch_norm"]
        grid = losses_at(context.module, context.problem, Plane(center, d1, d2, ticks, ticks), batch_norm=mode)
        on_path = losses_at(context.module, context.problem, path.to(center), batch_norm=mode)
        coordinates, inside = _projected(offsets.double(), d1.double(), d2.double())
        low, high = float(grid["loss"].nan_to_num().min()), float(grid["loss"].nan_to_num(posinf=0.0).max())
        positive = high > 0 and low >= -1e-6 * high  # below zero by more than rounding there are no logarithms
        shared = {
            "scale": context.options["scale"] if positive else "linear",
            "directions": context.options["directions"],
        }
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "kind": "grid",
                        "x": [x for _ in ticks for x in ticks],
                        "y": [y for y in ticks for _ in ticks],
                        "loss": grid["loss"].numpy(),
                        "step": float("nan"),
                        "in_plane": float("nan"),
                        **shared,
                    }
                ),
                pd.DataFrame(
                    {
                        "kind": "path",
                        "x": coordinates[:, 0].cpu().numpy(),
                        "y": coordinates[:, 1].cpu().numpy(),
                        "loss": on_path["loss"].numpy(),
                        "step": [float(step) for step in context.weights.trajectory_steps],
                        "in_plane": inside.cpu().numpy(),
                        **shared,
                    }
                ),
            ],
            ignore_index=True,
        )

    def _plane(self, context: ProbeContext, offsets: Tensor) -> tuple[Tensor, Tensor, float]:
        import torch

        from thalweg.landscape.directions import filter_normalized, random_direction

        if offsets.shape[1] < 2:
            raise ValueError("nothing spans a plane: there is one weight")
        if context.options["directions"] == "random":
            d1, d2 = (
                filter_normalized(context.module, random_direction(context.module, context.generator)) for _ in range(2)
            )
            return d1, d2, context.options["extent"]
        _, _, components = torch.linalg.svd(offsets.double(), full_matrices=False)
        if len(components) < 2:
            raise ValueError("the path has fewer than two points: nothing spans a plane")
        # the sign of a principal component is arbitrary: the start of the path is put at the upper right
        signs = torch.where(components[:2] @ offsets[0].double() < 0, -1.0, 1.0)
        d1, d2 = (components[:2] * signs[:, None]).to(offsets)
        coordinates = offsets.double() @ components[:2].T
        return d1, d2, 1.2 * max(float(coordinates.abs().max()), torch.finfo(torch.float32).tiny)

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Filled contours with the path in white, start as a circle and end as a cross; all trials on one scale."""
        import altair as alt

        from thalweg.landscape.contours import contour_levels

        log = bool((table["scale"] == "log").all())
        grid = table[table["kind"] == "grid"]
        levels = contour_levels(grid["loss"].to_numpy(), LEVELS, log)
        if "trial" not in table:
            return _contours(table, levels, log, "Loss surface")
        charts = [
            _contours(part, levels, log, str(trial)).properties(width=250, height=250)
            for trial, part in table.groupby("trial", sort=False)
        ]
        return alt.concat(*charts, columns=2, title="Loss surfaces on one colour scale")


def _projected(offsets: Tensor, d1: Tensor, d2: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares coordinates (T, 2) of each offset (T, P) in the span of d1 and d2, and the share that lies in it.

    By the 2 by 2 normal equations, with sums for inner products: those come out the same wherever the data lies in
    memory, which matrix products do not promise.
    """
    import torch

    pair = (d1, d2)
    gram = torch.stack([torch.stack([(a * b).sum() for b in pair]) for a in pair])
    coordinates = torch.linalg.solve(gram, torch.stack([(offsets * d).sum(1) for d in pair])).T
    inside = (coordinates[:, :1] * d1 + coordinates[:, 1:] * d2).norm(dim=1)
    return coordinates, inside / offsets.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)


def _contours(table: pandas.DataFrame, levels: object, log: bool, title: str) -> altair.LayerChart | altair.FacetChart:
    import altair as alt
    import numpy as np

    from thalweg.landscape.contours import filled_contours

    grid = table[table["kind"] == "grid"]
    square = grid.pivot_table(index="y", columns="x", values="loss", dropna=False)
    x, y, z = square.columns.to_numpy(float), square.index.to_numpy(float), square.to_numpy(float)
    z = np.where(np.isfinite(z) & ((z > 0) | (not log)), z, np.nan)
    levels = np.asarray(levels)
    # between grid points the contours follow the scale that they are drawn on
    polygons = filled_contours(x, y, np.log(z), np.log(levels)) if log else filled_contours(x, y, z, levels)
    polygons["level"] = np.exp(polygons["level"]) if log else polygons["level"]
    # a ten-thousandth of the picture is finer than its pixels, and shorter to send to a browser
    digits = 4 - int(np.floor(np.log10(x.max() - x.min())))
    polygons[["x", "y"]] = polygons[["x", "y"]].round(digits)
    random = bool((grid["directions"] == "random").all())
    unit = "filter norms" if random else "distance in weight space"
    domain = [float(x.min()), float(x.max())]
    axes = {
        "x": alt.X("x:Q", title=f"d1 ({unit})", scale=alt.Scale(domain=domain, nice=False)),
        "y": alt.Y("y:Q", title=f"d2 ({unit})", scale=alt.Scale(domain=domain, nice=False)),
    }
    color = alt.Color(
        "level:Q",
        title="training loss",
        scale=alt.Scale(
            type="log" if log else "linear",
            scheme="viridis",
            domain=_domain(float(levels[0]), float(levels[-1]), log),
        ),
        legend=alt.Legend(format=".3~g", gradientLength=220),
    )
    regions = (
        alt.Chart(polygons)
        .mark_line(filled=True, strokeWidth=0, clip=True)
        .encode(**axes, color=color, detail="polygon:N", order="vertex:Q")
    )
    hover = (
        alt.Chart(grid.assign(loss=grid["loss"].map("{:.4g}".format))[["x", "y", "loss"]])
        .mark_square(opacity=0, size=150)
        .encode(**axes, tooltip=["x:Q", "y:Q", alt.Tooltip("loss:N", title="training loss")])
    )
    path = table[table["kind"] == "path"].sort_values("step")
    path = path.assign(point=["start"] + ["on the way"] * (len(path) - 2) + ["end"])[
        ["x", "y", "loss", "step", "point"]
    ]
    trace = alt.Chart(path).mark_line(color="white", strokeWidth=2, clip=True).encode(**axes, order="step:Q")
    halo = alt.Chart(path).mark_line(color="black", strokeWidth=4, clip=True).encode(**axes, order="step:Q")
    roles = ["start", "on the way", "end"]
    legend = alt.Legend(symbolStrokeWidth=1)
    points = (
        alt.Chart(path)
        .mark_point(filled=False, fill="white", stroke="black", strokeWidth=1, opacity=1, clip=True)
        .encode(
            **axes,
            shape=alt.Shape(
                "point:N",
                title="optimizer's path",
                scale=alt.Scale(domain=roles, range=["square", "circle", "cross"]),
                legend=legend,
            ),
            size=alt.Size(
                "point:O",
                title="optimizer's path",
                scale=alt.Scale(type="ordinal", domain=roles, range=[90, 20, 130]),
                legend=legend,
            ),
            tooltip=["step:Q", alt.Tooltip("loss:Q", format=".4g"), "point:N"],
        )
    )
    kind = "random filter-normalised plane" if random else "plane of the path's two principal components"
    share = table.loc[(table["kind"] == "path") & (table["step"] == 0), "in_plane"]
    seen = f"; {share.iloc[0]:.1%} of the way from the start lies in it" if len(share) else ""
    wrong = int((~np.isfinite(z)).sum())
    gaps = f"; {wrong} points have no finite value on this scale and are left white" if wrong else ""
    subtitle = [kind, f"{'log' if log else 'linear'} scale{seen}{gaps}"]
    return alt.layer(regions, halo, trace, points, hover).properties(
        width=460, height=460, title=alt.TitleParams(title, subtitle=subtitle, subtitleColor="#888888")
    )


def _domain(low: float, high: float, log: bool) -> list[float]:
    """The colours' ends, never one and the same number."""
    if log:
        return [low, max(high, low * (1 + 1e-9), 1e-300)]
    return [low, high if high > low else low + max(abs(low), 1.0) * 1e-9]
