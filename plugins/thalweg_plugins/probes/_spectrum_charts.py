"""Pictures of a spectrum."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

NAMES = {"hessian": "Hessian", "ggn": "GGN", "fisher": "Fisher matrix"}
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
FLOOR = 1e-7
"""The lowest density drawn, as a part of the highest: an eigenvalue in a million is above it."""


def _name(table: pd.DataFrame) -> str:
    return " and ".join(NAMES[matrix] for matrix in dict.fromkeys(table["matrix"]))


def _faceted(chart: Any, table: pd.DataFrame, title: str, subtitle: list[str]) -> Any:
    """One picture, or one a trial on shared scales."""
    heading = alt.TitleParams(title, subtitle=subtitle, subtitleColor="#888888")
    if "trial" not in table:
        return chart.properties(width="container", height=320, title=heading)
    return (
        chart.properties(width=360, height=240)
        .facet(facet=alt.Facet("trial:N", title=None), columns=2)
        .properties(title=heading)
    )


def _trace_text(table: pd.DataFrame) -> list[str]:
    """The traces in words, where the table is of one trial."""
    if "trial" in table:
        return []
    rows = table[table["kind"] == "trace"].itertuples()
    return ["; ".join(f"trace by {row.quantity}: {row.value:.4g} [{row.low:.4g}, {row.high:.4g}]" for row in rows)]


def density_chart(table: pd.DataFrame) -> Any:
    """Mean and range of the draws on a log scale; the eigenvalues as ticks, the largest and the smallest ones."""
    density = table[table["kind"] == "density"]
    floor = FLOOR * float(density["high"].max())
    # what is below the floor is drawn there: a logarithm needs something
    clipped = density.assign(**{name: density[name].clip(lower=floor) for name in ("value", "low", "high")})
    keep = ["kind", "quantity", "at", "value", "low", "high", *(["trial"] if "trial" in table else [])]
    eigenvalues = table[table["kind"] == "eigenvalue"]
    data = pd.concat([clipped, eigenvalues.assign(at=eigenvalues["value"])], ignore_index=True)[keep]
    x = alt.X("at:Q", title="eigenvalue", axis=alt.Axis(format="~g"))
    scale = alt.Scale(type="log", domain=[floor, float(clipped["high"].max()) * 2], nice=False)
    y = alt.Y("value:Q", title="density (log scale)", scale=scale, axis=alt.Axis(format=".0e", tickCount=5))
    base = alt.Chart(data)
    lines = base.transform_filter("datum.kind === 'density'")
    band = lines.mark_area(color=BLUE, opacity=0.3, clip=True).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = lines.mark_line(color=BLUE, clip=True).encode(
        x=x, y=y, tooltip=[alt.Tooltip("at:Q", title="eigenvalue", format=".4g"), alt.Tooltip("value:Q", format=".3g")]
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
    return _faceted(
        alt.layer(band, line, ticks), table, f"Spectral density of the {_name(table)}", [about, *_trace_text(table)]
    )


def block_chart(table: pd.DataFrame) -> Any:
    """The largest eigenvalue and the trace of each layer's block."""
    blocks = table[table["kind"] == "block"]
    positive = blocks[blocks["value"] > 0]
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
            tooltip=["layer:N", "quantity:N", *(alt.Tooltip(f"{name}:Q", format=".4g") for name in _NUMBERS)],
        )
    )
    left_out = len(blocks) - len(positive)
    about = "option blocks = true measures them" if blocks.empty else f"{left_out} not positive and left out"
    return _faceted(chart, table, f"Diagonal blocks of the {_name(table)}", [about] if blocks.empty or left_out else [])


_NUMBERS = ("value", "low", "high")


def overlap_chart(table: pd.DataFrame) -> Any:
    """The gradient's share in the span of the leading eigenvectors."""
    chart = (
        alt.Chart(table[table["kind"] == "overlap"])
        .mark_line(point=True, color=BLUE)
        .encode(
            x=alt.X("index:O", title="leading eigenvectors"),
            y=alt.Y("value:Q", title="||Q'g||² / ||g||²", scale=alt.Scale(domain=[0, 1])),
            tooltip=["index:O", alt.Tooltip("value:Q", format=".4g")],
        )
    )
    return _faceted(chart, table, f"The gradient in the top eigenspace of the {_name(table)}", [])
