"""Pictures of a spectrum."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from thalweg.present.charts.palette import BLUE, GREEN, VERMILION
from thalweg_plugins.probes._charts import by_trial, finite, number_format, said

NAMES = {"hessian": "Hessian", "ggn": "GGN", "fisher": "Fisher matrix"}
FLOOR = 1e-7
"""The lowest density that is drawn, as a share of the highest; one eigenvalue in a million lies above it."""

NUMBERS = ("value", "low", "high")


def _name(table: pd.DataFrame) -> str:
    return " and ".join(NAMES.get(matrix, matrix) for matrix in dict.fromkeys(table["matrix"].dropna())) or "matrix"


def _finite(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    rows = table[table["kind"] == kind]
    return rows.assign(**{name: finite(rows[name]) for name in ("at", "index", *NUMBERS)})


def _trace_text(table: pd.DataFrame) -> str:
    """The traces in words; empty for a table of several trials."""
    if "trial" in table:
        return ""
    rows = _finite(table, "trace").itertuples()
    return "; ".join(f"trace by {row.quantity}: {row.value:.4g} [{row.low:.4g}, {row.high:.4g}]" for row in rows)


def density_chart(table: pd.DataFrame) -> Any:
    """Mean and range of the draws on a log scale; marks at the largest and the smallest eigenvalues."""
    title = f"Spectral density of the {_name(table)}"
    found = _finite(table, "density")
    density = found.dropna(subset=["at", *NUMBERS])
    if not (density["high"] > 0).any():
        return said(title, "the density is not finite" if len(found) else "the table has no density")
    floor = FLOOR * float(density["high"].max())
    # densities below the floor are drawn at the floor, since zero has no logarithm
    clipped = density.assign(found=density["value"], **{name: density[name].clip(lower=floor) for name in NUMBERS})
    keep = ["kind", "quantity", "at", "value", "found", "low", "high", *(["trial"] if "trial" in table else [])]
    eigenvalues = _finite(table, "eigenvalue").dropna(subset=["value"])
    data = pd.concat([clipped, eigenvalues.assign(at=eigenvalues["value"])], ignore_index=True)[keep]
    x = alt.X("at:Q", title="eigenvalue", axis=alt.Axis(format=number_format(data["at"])))
    scale = alt.Scale(type="log", domain=[floor, float(clipped["high"].max()) * 2], nice=False)
    y = alt.Y("value:Q", title="density (log scale)", scale=scale, axis=alt.Axis(format=".0e", tickCount=5))
    base = alt.Chart(data)
    lines = base.transform_filter("datum.kind === 'density'")
    band = lines.mark_area(color=BLUE, opacity=0.3, clip=True).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = lines.mark_line(color=BLUE, clip=True).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("at:Q", title="eigenvalue", format=".4g"),
            alt.Tooltip("found:Q", title="density", format=".3g"),
        ],
    )
    ends = ["largest", "smallest"]
    ticks = (
        base.transform_filter("datum.kind === 'eigenvalue'")
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            x=x,
            y=alt.value("height"),
            color=alt.Color("quantity:N", title="eigenvalues", scale=alt.Scale(domain=ends, range=[VERMILION, GREEN])),
            shape=alt.Shape(
                "quantity:N", title="eigenvalues", scale=alt.Scale(domain=ends, range=["triangle-up", "diamond"])
            ),
            tooltip=["quantity:N", alt.Tooltip("at:Q", title="eigenvalue", format=".6g")],
        )
    )
    sigma = ", ".join(f"{value:.3g}" for value in dict.fromkeys(density["sigma"]))
    draws = ", ".join(f"{value:.0f}" for value in dict.fromkeys(density["vectors"]))
    about = f"line: mean of {draws} draws, band: their range; smoothed by a Gaussian of sigma {sigma}"
    lost = (
        f"{len(found) - len(density)} of {len(found)} of its points are not finite" if len(density) < len(found) else ""
    )
    one = [lines.mark_point(color=BLUE).encode(x=x, y=y)] if len(density) == 1 else []
    return by_trial(alt.layer(band, line, *one, ticks), table, title, [about, lost, _trace_text(table)])


def block_chart(table: pd.DataFrame) -> Any:
    """The largest eigenvalue and the trace of each layer's block."""
    title = f"Diagonal blocks of the {_name(table)}"
    blocks = _finite(table, "block")
    if blocks.empty:
        return said(title, "the table has none: option blocks = true measures them")
    positive = blocks[blocks["value"] > 0].dropna(subset=["index"])
    if positive.empty:
        return said(title, "no value is finite and positive")
    chart = (
        alt.Chart(positive)
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X("index:O", title="layer (1: input)"),
            y=alt.Y(
                "value:Q",
                title="loss per squared unit of weight (log scale)",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~g", tickCount=5),
            ),
            color=alt.Color("quantity:N", title="of the block", scale=alt.Scale(range=[VERMILION, BLUE])),
            shape=alt.Shape("quantity:N", title="of the block"),
            tooltip=["layer:N", "quantity:N", *(alt.Tooltip(f"{name}:Q", format=".4g") for name in NUMBERS)],
        )
    )
    left_out = len(blocks) - len(positive)
    return by_trial(chart, table, title, f"{left_out} not finite and positive, and left out" if left_out else "")


def overlap_chart(table: pd.DataFrame) -> Any:
    """The gradient's share in the span of the leading eigenvectors."""
    title = f"The gradient in the top eigenspace of the {_name(table)}"
    found = _finite(table, "overlap")
    rows = found.dropna(subset=["value", "index"])
    if rows.empty:
        return said(title, "the gradient is zero, or not finite" if len(found) else "the table has no overlap")
    chart = (
        alt.Chart(rows)
        .mark_line(point=True, color=BLUE)
        .encode(
            x=alt.X("index:O", title="leading eigenvectors"),
            y=alt.Y("value:Q", title="||Q'g||² / ||g||²", scale=alt.Scale(domain=[0, 1])),
            tooltip=["index:O", alt.Tooltip("value:Q", format=".4g")],
        )
    )
    return by_trial(chart, table, title)
