"""The pictures of a loss surface: filled contours, heat map, relief."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from thalweg.present.charts.palette import GREY, MISSING, PLOTLY_SEQUENTIAL, SEQUENTIAL, VERMILION
from thalweg_plugins.probes._charts import finite, heading, said

if TYPE_CHECKING:
    import altair
    import pandas

LEVELS = 14
RELIEFS = 4
"""Planes in three dimensions, at most: each has a scene of its own."""
PIXELS = 460
MOST_POINTS = 100_000
"""Grid points that a picture draws, of all its planes; more are slow to send to a browser and finer than its pixels."""


def contours(table: pandas.DataFrame) -> altair.TopLevelMixin:
    """Filled contours of each plane; several planes share one colour scale."""
    return _several(table, _contours, "Loss surfaces on one colour scale")


def heat_map(table: pandas.DataFrame) -> altair.TopLevelMixin:
    """Every point of the grid as a cell; a cell without a finite value is grey."""
    return _several(table, _cells, "Loss surfaces on one colour scale")


def relief(table: pandas.DataFrame) -> object:
    """Up to four planes in three dimensions as a Plotly figure, on one scale, with the path on each.

    Raises:
        ValueError: plotly is not installed.
    """
    try:
        from plotly import graph_objects
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise ValueError("the picture in three dimensions needs plotly: pip install 'thalweg[app]'") from error
    every = planes(table)
    log = len(table) > 0 and bool((table["scale"] == "log").all())
    drawn = [(name, part) for name, part in every if not _why_not(part, log)][:RELIEFS]
    if not drawn:
        figure = graph_objects.Figure()
        why = _why_not(table, log)
        figure.update_layout(title="Loss surface", height=200, xaxis_visible=False, yaxis_visible=False)
        figure.add_annotation(text=why, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
        return figure
    every_nth = stride([part for _, part in drawn])
    columns = 1 if len(drawn) == 1 else 2
    rows = -(-len(drawn) // columns)
    figure = make_subplots(
        rows,
        columns,
        specs=[[{"type": "surface"}] * columns for _ in range(rows)],
        # two lines, so that titles of neighbours do not meet on a narrow screen
        subplot_titles=[name.replace(" · ", "<br>", 1) for name, _ in drawn] if len(drawn) > 1 else None,
        horizontal_spacing=0.02,
        vertical_spacing=0.06,
    )
    for number, (_, part) in enumerate(drawn):
        for trace in _relief(thinned(part, every_nth), log, legend=number == 0):
            figure.add_trace(trace, row=number // columns + 1, col=number % columns + 1)
    title = "log10 of the training loss" if log else "training loss"
    title_ = "Loss surfaces on one scale" if len(drawn) > 1 else "Loss surface"
    left_out = f"; {len(every) - len(drawn)} more are not drawn" if len(every) > len(drawn) else ""
    left_out += f"; 1 of {every_nth} rows and columns" if every_nth > 1 else ""
    figure.update_scenes(xaxis_title="d1", yaxis_title="d2", zaxis_title="log10 loss" if log else "loss")
    figure.update_layout(
        title={"text": f"{title_}{left_out}", "y": 0.98, "yanchor": "top"},
        height=600 if rows == 1 else 900,
        # below the picture, where a narrow screen has room
        coloraxis={
            "colorscale": PLOTLY_SEQUENTIAL,
            "colorbar": {"title": {"text": title, "side": "top"}, "orientation": "h", "y": -0.1, "yanchor": "top",
                         "thickness": 12, "len": 0.8},
        },
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0.0},
        margin={"l": 0, "r": 0, "b": 100, "t": 80},
    )  # fmt: skip
    return figure


def _relief(part: pandas.DataFrame, log: bool, legend: bool) -> list[Any]:
    """The surface of a plane, and the path on it."""
    import numpy as np
    from plotly import graph_objects

    x, y, z = square(part, log)
    surface = graph_objects.Surface(x=x, y=y, z=np.log10(z) if log else z, coloraxis="coloraxis")
    path = part[part["kind"] == "path"].sort_values("step")
    inside = path[(path["x"].abs() <= x.max()) & (path["y"].abs() <= y.max())]
    shown = np.log10(inside["loss"].where(inside["loss"] > 0)) if log else inside["loss"]
    way = graph_objects.Scatter3d(
        x=inside["x"],
        y=inside["y"],
        z=shown,
        mode="lines+markers",
        name="optimizer's path" if len(path) > 1 else "the weights",
        # a colour that the scale does not have, and that shows on a light and on a dark page
        line={"color": VERMILION, "width": 6},
        marker={"size": 3, "color": VERMILION},
        showlegend=legend,
    )
    return [surface, way]


def planes(table: pandas.DataFrame) -> list[tuple[str, pandas.DataFrame]]:
    """The table of each plane with its name; a table without a column ``draw`` is one plane."""
    keys = [key for key in ("trial", "draw") if key in table and len(table[key].unique()) > 1]
    if not keys:
        return [("Loss surface", table)]
    found = []
    for values, part in table.groupby(keys, sort=False):
        pairs = dict(zip(keys, values, strict=True))
        parts = [f"draw {int(str(value)) + 1}" if key == "draw" else str(value) for key, value in pairs.items()]
        found.append((", ".join(parts), part))
    return found


def _several(table: pandas.DataFrame, draw: Any, title: str) -> altair.TopLevelMixin:
    import altair as alt

    from thalweg.landscape.contours import contour_levels

    log = len(table) > 0 and bool((table["scale"] == "log").all())
    every = planes(table)
    drawn = [(name, part) for name, part in every if not _why_not(part, log)]
    if not drawn:
        return said("Loss surface", _why_not(table, log))
    nth = stride([part for _, part in drawn])
    levels = contour_levels(table.loc[table["kind"] == "grid", "loss"].to_numpy(float), LEVELS, log)
    if len(every) == 1:
        found: altair.TopLevelMixin = draw(drawn[0][1], levels, log, drawn[0][0], nth)
        return found
    charts = [draw(part, levels, log, name, nth).properties(width=250, height=250) for name, part in drawn]
    lost = [f"{name}: {_why_not(part, log)}" for name, part in every if _why_not(part, log)]
    return alt.concat(*charts, columns=2, title=heading(title, lost))


def _why_not(table: pandas.DataFrame, log: bool) -> str:
    """Why a plane cannot be drawn; empty where it can."""
    grid = table[table["kind"] == "grid"]
    losses = finite(grid["loss"])
    if grid.empty:
        return "the table has no grid of losses"
    if grid["x"].nunique() < 2 or grid["y"].nunique() < 2:
        return "a plane needs two points a side"
    if not (losses > (0 if log else -float("inf"))).any():
        return f"none of {len(grid)} points of the grid has a finite value on this scale"
    return ""


def kept(count: int, every: int) -> list[int]:
    """Which of ``count`` ticks are drawn: the middle one, each ``every``-th from there on, and both ends.

    >>> kept(9, 3)
    [0, 1, 4, 7, 8]
    """
    return sorted({0, count - 1, *range((count - 1) // 2 % every, count, every)})


def stride(parts: Sequence[pandas.DataFrame]) -> int:
    """Every how many-th row and column is drawn, so that the grids of all planes have at most MOST_POINTS together."""
    grids = [part[part["kind"] == "grid"] for part in parts]
    sides = [(grid["x"].nunique(), grid["y"].nunique()) for grid in grids]
    longest = max(max(side) for side in sides)
    fits = (
        every
        for every in range(1, longest)
        if sum(len(kept(width, every)) * len(kept(height, every)) for width, height in sides) <= MOST_POINTS
    )
    return next(fits, longest)


def thinned(table: pandas.DataFrame, every: int) -> pandas.DataFrame:
    """The table of a plane with the rows and columns of its grid that are drawn; a grid without gaps stays one."""
    if every == 1:
        return table
    grid = table["kind"] == "grid"
    on_ticks = grid.copy()
    for axis in ("x", "y"):
        ticks = sorted(table.loc[grid, axis].unique())
        on_ticks &= table[axis].isin([ticks[number] for number in kept(len(ticks), every)])
    return table[on_ticks | ~grid]


def square(table: pandas.DataFrame, log: bool) -> tuple[Any, Any, Any]:
    """Ticks x (n,) and y (m,), and losses (m, n): nan where a loss is not finite or not on the scale."""
    import numpy as np

    grid = table[table["kind"] == "grid"]
    square = grid.pivot_table(index="y", columns="x", values="loss", dropna=False)
    x, y, z = square.columns.to_numpy(float), square.index.to_numpy(float), square.to_numpy(float)
    return x, y, np.where(np.isfinite(z) & ((z > 0) | (not log)), z, np.nan)


def _cells(
    table: pandas.DataFrame, levels: Any, log: bool, title: str, every: int
) -> altair.LayerChart | altair.FacetChart:
    import altair as alt
    import numpy as np

    part = thinned(table, every)
    x, y, _ = square(part, log)
    grid = part[part["kind"] == "grid"]
    cells = grid[["x", "y", "loss"]].copy()
    for name, ticks, (begin, end) in (("x", x, ("left", "right")), ("y", y, ("low", "high"))):
        # a cell reaches halfway to its neighbours
        edges = np.concatenate([ticks[:1], (ticks[1:] + ticks[:-1]) / 2, ticks[-1:]])
        place = np.searchsorted(ticks, grid[name])
        cells[begin], cells[end] = edges[place], edges[place + 1]
    axes, color, subtitle = _frame(table, square(table, log), levels, log, every)
    usable = (cells["loss"] > (0 if log else float("-inf"))) & (cells["loss"] < float("inf"))
    tooltip = ["x:Q", "y:Q", alt.Tooltip("loss:Q", title="training loss", format=".4g")]
    # the scales of the contours, which end at the outer ticks
    places = {
        "x": axes["x"].copy(), "x2": "right:Q", "y": axes["y"].copy(), "y2": "high:Q",
    }  # fmt: skip
    places["x"].shorthand, places["y"].shorthand = "left:Q", "low:Q"
    color = color.copy()
    color.shorthand = "loss:Q"
    color["scale"]["clamp"] = True
    seen = alt.Chart(cells[usable]).mark_rect(clip=True).encode(**places, color=color, tooltip=tooltip)
    gaps = alt.Chart(cells[~usable]).mark_rect(clip=True, color=MISSING).encode(**places, tooltip=tooltip)
    return alt.layer(seen, gaps, *_path(table, axes)).properties(
        width=PIXELS, height=PIXELS, title=heading(title, subtitle)
    )


def _contours(
    table: pandas.DataFrame, levels: Any, log: bool, title: str, every: int
) -> altair.LayerChart | altair.FacetChart:
    import altair as alt
    import numpy as np

    from thalweg.landscape.contours import filled_contours

    part = thinned(table, every)
    x, y, z = square(part, log)
    # contours interpolate between grid points on the scale on which they are drawn
    polygons = filled_contours(x, y, np.log(z), np.log(levels)) if log else filled_contours(x, y, z, levels)
    polygons["level"] = np.exp(polygons["level"]) if log else polygons["level"]
    # a ten-thousandth of the picture is finer than its pixels, and shorter to send to a browser
    digits = 4 - int(np.floor(np.log10(x.max() - x.min())))
    polygons[["x", "y"]] = polygons[["x", "y"]].round(digits)
    axes, color, subtitle = _frame(table, square(table, log), levels, log, every)
    regions = (
        alt.Chart(polygons)
        .mark_line(filled=True, strokeWidth=0, clip=True)
        .encode(**axes, color=color, detail="polygon:N", order="vertex:Q")
    )
    grid = part[part["kind"] == "grid"]
    hover = (
        alt.Chart(grid.assign(loss=grid["loss"].map("{:.4g}".format))[["x", "y", "loss"]])
        .mark_square(opacity=0, size=150)
        .encode(**axes, tooltip=["x:Q", "y:Q", alt.Tooltip("loss:N", title="training loss")])
    )
    rows, columns = np.nonzero(~np.isfinite(z))
    gaps: list[altair.Chart] = []
    if len(rows):
        import pandas as pd

        missing = alt.Chart(pd.DataFrame({"x": x[columns], "y": y[rows]}))
        gaps = [missing.mark_point(shape="cross", size=25, color=GREY, angle=45, clip=True).encode(**axes)]
    return alt.layer(regions, *gaps, *_path(table, axes), hover).properties(
        width=PIXELS, height=PIXELS, title=heading(title, subtitle)
    )


def _frame(
    table: pandas.DataFrame, whole: tuple[Any, Any, Any], levels: Any, log: bool, every: int
) -> tuple[dict[str, Any], Any, Any]:
    """Axes, colours and subtitle for any picture of a plane; its ``whole`` grid is what the subtitle counts."""
    import altair as alt
    import numpy as np

    x, y, z = whole
    kind = str(table["directions"].iloc[0])
    unit = (
        "filter norms" if kind in ("random", "random (filter)") else "layer norms" if kind == "random (layer)" else ""
    )
    unit = unit or ("standard normal directions" if kind == "random (none)" else "distance in weight space")
    domain = [float(x.min()), float(x.max())]
    axes = {
        name: alt.X(f"{name}:Q", title=f"{d} ({unit})", scale=alt.Scale(domain=domain, nice=False))
        if name == "x"
        else alt.Y(f"{name}:Q", title=f"{d} ({unit})", scale=alt.Scale(domain=domain, nice=False))
        for name, d in (("x", "d1"), ("y", "d2"))
    }
    color = alt.Color(
        "level:Q",
        title="training loss",
        scale=alt.Scale(
            type="log" if log else "linear",
            scheme=SEQUENTIAL,
            domain=_domain(float(levels[0]), float(levels[-1]), log),
        ),
        legend=alt.Legend(format=".3~g", gradientLength=170, orient="bottom"),
    )
    words = {
        "random": "random filter-normalised plane",
        "random (filter)": "random filter-normalised plane",
        "random (layer)": "random layer-normalised plane",
        "random (none)": "random plane, not normalised",
        "path": "plane of the path's two principal components",
        "hessian": "plane of the Hessian's two leading eigenvectors",
        "points": "plane through start, finish and the path's farthest point",
    }
    way = table[table["kind"] == "path"]
    # a single point is the weights themselves
    share = way.loc[(way["step"] == 0) & (len(way) > 1), "in_plane"]
    seen = f"; {share.iloc[0]:.1%} of the way from the start lies in it" if len(share) else ""
    below = ", since the loss goes below zero" if not log and (table["loss"] < 0).any() else ""
    lines = [words.get(kind, kind), f"{'log' if log else 'linear'} scale{below}{seen}"]
    if "explained" in table and np.isfinite(table["explained"].iloc[0]):
        lines[0] += f" ({table['explained'].iloc[0]:.1%} of its variance)"
    exact = int((table["kind"] == "evaluated").sum())
    if exact:
        error = table.loc[table["kind"] == "evaluated", "error"].iloc[0]
        lines.append(f"{exact} evaluations; error at held-out points at most {error:.2%} of the range")
    if every > 1:
        lines.append(f"drawn: 1 of {every} rows and columns of {len(y):,} × {len(x):,} points, and the rim")
    wrong = int((~np.isfinite(z)).sum())
    if wrong:
        lines.append(f"{wrong} points have no finite value on this scale: crosses, or grey cells")
    return axes, color, lines


def _path(table: pandas.DataFrame, axes: dict[str, Any]) -> list[Any]:
    """The optimizer's path in white with a black rim, from a square to a cross."""
    import altair as alt

    path = table[table["kind"] == "path"].sort_values("step")
    if len(path) < 2:
        weights = alt.Chart(path).mark_point(shape="cross", size=130, fill="white", stroke="black", strokeWidth=1)
        return [weights.encode(**axes, tooltip=[alt.Tooltip("loss:Q", format=".4g")])]
    last = len(path) - 1
    where = ["end" if i == last else "on the way" if i else "start" for i in range(len(path))]
    path = path.assign(point=where)[["x", "y", "loss", "step", "point"]]
    trace = alt.Chart(path).mark_line(color="white", strokeWidth=2, clip=True).encode(**axes, order="step:Q")
    halo = alt.Chart(path).mark_line(color="black", strokeWidth=4, clip=True).encode(**axes, order="step:Q")
    roles = ["start", "on the way", "end"]
    # upright, so that both legends side by side are no wider than a phone
    legend = alt.Legend(symbolStrokeWidth=1, orient="bottom", direction="vertical")
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
    return [halo, trace, points]


def _domain(low: float, high: float, log: bool) -> list[float]:
    """The two ends of the colour scale, which always differ."""
    if log:
        return [low, max(high, low * (1 + 1e-9), 1e-300)]
    return [low, high if high > low else low + max(abs(low), 1.0) * 1e-9]
