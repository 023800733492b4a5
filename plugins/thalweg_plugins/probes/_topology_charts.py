"""The pictures of a surface's minima: the tree in which their valleys merge, and a bar for each minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.present.charts.palette import BLUE, VERMILION
from thalweg_plugins.probes._charts import heading, number_format, said
from thalweg_plugins.probes._surface_charts import planes, square

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.landscape.topology import MergeTree

MOST = 40
"""The most minima that are drawn."""
_END = "lowest minimum of all"
_OTHER = "other minima"


def tree(table: pandas.DataFrame) -> altair.TopLevelMixin:
    """For each plane the tree of its minima: a leaf for each minimum, a bridge at each saddle."""
    return _several(table, _branches, "Valleys of the loss surface")


def barcode(table: pandas.DataFrame) -> altair.TopLevelMixin:
    """For each plane a bar for each minimum, from its loss to the loss at which its valley ends."""
    return _several(table, _bars, "Minima of the loss surface")


def _several(table: pandas.DataFrame, draw: Any, title: str) -> altair.TopLevelMixin:
    import altair as alt
    import numpy as np

    from thalweg.landscape.topology import merge_tree

    log = len(table) > 0 and bool((table["scale"] == "log").all())
    found, lost = [], []
    every = planes(table)
    for name, part in every:
        _, _, losses = square(part, log)
        if not np.isfinite(losses).any():
            lost.append(f"{name}: no point of the grid has a finite value on this scale")
            continue
        found.append((name, merge_tree(losses), float(np.nanmax(losses))))
    if not found:
        return said(title, lost[0].split(": ", 1)[1] if lost else "the table has no grid of losses")
    if len(every) == 1:
        _, merged, highest = found[0]
        chart: altair.TopLevelMixin = draw(merged, highest, log).properties(
            width="container", height=320, title=heading(title, _about(merged, highest))
        )
        return chart
    charts = [
        draw(merged, highest, log).properties(width=260, height=220, title=heading(name, _about(merged, highest)))
        for name, merged, highest in found
    ]
    return alt.concat(*charts, columns=2, title=heading(title, lost))


def _about(merged: MergeTree, highest: float) -> list[str]:
    """How many minima a surface has, how many of them are deep, and their mean gap."""
    n, span = len(merged.minima), highest - merged.minima[0].loss
    lines = [
        "1 minimum" if n == 1 else f"{n} minima" + (f", of which the {MOST} deepest are drawn" if n > MOST else "")
    ]
    if merged.merges:
        deep = sum(minimum.persistence >= 0.01 * span for minimum in merged.minima)
        lines[0] += f"; {deep} deeper than 1% of the range"
        lines.append(f"mean gap from a minimum to its first saddle: {merged.mean_gap:.3g}")
    return lines


def _scale(merged: MergeTree, highest: float, log: bool, axis: Any) -> Any:
    """An axis of losses that holds all minima and the highest loss."""
    import altair as alt
    import pandas as pd

    low = merged.minima[0].loss
    domain = [low, highest if highest > low else low + max(abs(low), 1.0)]
    return axis(
        scale=alt.Scale(type="log" if log else "linear", domain=domain, nice=False),
        title=f"training loss ({'log' if log else 'linear'} scale)",
        axis=alt.Axis(format=number_format(pd.Series(domain), log), tickCount=5),
    )


def _bars(merged: MergeTree, highest: float, log: bool) -> Any:
    import altair as alt
    import numpy as np
    import pandas as pd

    minima = sorted(merged.simplified(MOST).minima, key=lambda minimum: -minimum.persistence)
    rows = pd.DataFrame(
        [
            {
                "number": i + 1,
                "birth": minimum.loss,
                "death": minimum.loss + minimum.persistence if np.isfinite(minimum.persistence) else highest,
                "which": _OTHER if np.isfinite(minimum.persistence) else _END,
                "persistence": f"{minimum.persistence:.4g}",
            }
            for i, minimum in enumerate(minima)
        ]
    )
    return (
        alt.Chart(rows)
        .mark_bar(height={"band": 0.7}, strokeWidth=1)
        .encode(
            x=_scale(merged, highest, log, lambda **given: alt.X("birth:Q", **given)),
            x2="death:Q",
            y=alt.Y("number:O", title="minima, the most persistent first", axis=alt.Axis(labels=len(rows) <= 20)),
            color=_which()["color"],
            stroke=_which()["color"],
            tooltip=[
                alt.Tooltip("birth:Q", title="loss at the minimum", format=".4g"),
                alt.Tooltip("death:Q", title="loss at the saddle", format=".4g"),
                alt.Tooltip("persistence:N"),
            ],
        )
    )


def _which() -> dict[str, Any]:
    """Colour and shape of the lowest minimum and of the others, with one legend, equal for all planes."""
    import altair as alt

    styles = {_END: (VERMILION, "circle"), _OTHER: (BLUE, "square")}
    domain = list(styles)
    colors, shapes = zip(*styles.values(), strict=True)
    legend = alt.Legend(orient="bottom")
    return {
        "color": alt.Color("which:N", title=None, scale=alt.Scale(domain=domain, range=list(colors)), legend=legend),
        "shape": alt.Shape("which:N", title=None, scale=alt.Scale(domain=domain, range=list(shapes)), legend=legend),
    }


def _branches(merged: MergeTree, highest: float, log: bool) -> Any:
    """Upright lines from minima to saddles, and level lines at the saddles between the two valleys that meet."""
    import altair as alt
    import pandas as pd

    shown = merged.simplified(MOST)
    places = _places(shown)
    level = [minimum.loss for minimum in shown.minima]
    which = [_OTHER if minimum.persistence < float("inf") else _END for minimum in shown.minima]
    lines = []
    for number, merge in enumerate(shown.merges):
        left, right = places[merge.elder], places[merge.younger]
        pair = ((left, level[merge.elder]), (left, merge.loss), (right, merge.loss), (right, level[merge.younger]))
        lines += [{"line": number, "vertex": i, "x": x, "loss": y} for i, (x, y) in enumerate(pair)]
        places[merge.elder], level[merge.elder] = (left + right) / 2, merge.loss
    last = {merge.younger for merge in shown.merges}
    for i in sorted(set(range(len(level))) - last):
        lines += [
            {"line": len(shown.merges) + i, "vertex": end, "x": places[i], "loss": y}
            for end, y in enumerate((level[i], highest))
        ]
    leaves = pd.DataFrame(
        [
            {"x": x, "loss": minimum.loss, "which": name, "persistence": f"{minimum.persistence:.4g}"}
            for x, minimum, name in zip(_places(shown), shown.minima, which, strict=True)
        ]
    )
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-0.5, len(level) - 0.5], nice=False))
    y = _scale(merged, highest, log, lambda **given: alt.Y("loss:Q", **given))
    branches = (
        alt.Chart(pd.DataFrame(lines))
        .mark_line(color=BLUE, strokeWidth=1.5)
        .encode(x, y, detail="line:N", order="vertex:Q")
    )
    points = (
        alt.Chart(leaves)
        .mark_point(filled=True, size=60, opacity=1)
        .encode(
            x,
            y,
            **_which(),
            tooltip=[alt.Tooltip("loss:Q", title="loss at the minimum", format=".4g"), alt.Tooltip("persistence:N")],
        )
    )
    return alt.layer(branches, points)


def _places(merged: MergeTree) -> list[float]:
    """A place in a row for each minimum, so that valleys which merge stand side by side and no lines cross."""
    groups = [[i] for i in range(len(merged.minima))]
    for merge in merged.merges:
        groups[merge.elder] = groups[merge.elder] + groups[merge.younger]
    ended = {merge.younger for merge in merged.merges}
    row = [i for j, group in enumerate(groups) if j not in ended for i in group]
    places = [0.0] * len(row)
    for place, i in enumerate(row):
        places[i] = float(place)
    return places
