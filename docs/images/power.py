"""Simulates how often ``thalweg compare`` finds a loss; prints the table of docs/compare.md and draws power.png.

Run ``python docs/images/power.py``; the picture needs vl-convert-python.
"""

from __future__ import annotations

from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from thalweg.present.charts.palette import COLORS
from thalweg.scoring.paired import judge

ROWS = (1, 5, 20, 50)
SEEDS = (3, 4, 5, 6, 8, 10, 15, 20)
LOSSES = (0.02, 0.03)
REPETITIONS = 2000
MARGIN, DEVIATION = 0.01, 0.01


def power(rows: int, seeds: int, loss: float) -> float:
    """The share of comparisons that call the one truly worse row worse; all other rows are equal on both sides."""
    rng = np.random.default_rng([rows, seeds, round(1000 * loss)])
    before, after = rng.normal(0.0, DEVIATION, (2, REPETITIONS, rows, seeds))
    before[:, 0] += loss
    return float((judge(before - after, np.full(rows, MARGIN)).verdict[:, 0] == 1).mean())


def main() -> None:
    """Print the table and draw the picture."""
    table = pd.DataFrame(
        [(rows, seeds, loss, power(rows, seeds, loss)) for loss in LOSSES for rows in ROWS for seeds in SEEDS],
        columns=["rows", "seeds", "loss", "power"],
    )
    table["title"] = [f"true loss of {100 * loss:.0f} points" for loss in table["loss"]]
    wide = table[table["loss"] == 0.03].pivot_table(index="rows", columns="seeds", values="power")
    lines = ["| rows | " + " | ".join(f"{seeds} seeds" for seeds in SEEDS) + " |", "|" + " --- |" * (len(SEEDS) + 1)]
    for rows, values in wide.iterrows():
        lines.append(f"| {rows} | " + " | ".join(f"{100 * value:.0f}%" for value in values) + " |")
    print("\n".join(lines))  # noqa: T201
    color = alt.Color("rows:O", scale=alt.Scale(range=list(COLORS[: len(ROWS)])), title="rows compared")
    base = alt.Chart(table).encode(
        alt.X("seeds:Q", title="seeds", scale=alt.Scale(domain=[3, 20], nice=False), axis=alt.Axis(values=list(SEEDS))),
        alt.Y("power:Q", title="found in", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color,
        alt.StrokeDash("rows:O", title="rows compared"),
    )
    layers = alt.layer(base.mark_line(strokeWidth=2), base.mark_point(filled=True, size=40))
    chart = layers.properties(width=300, height=240).facet(alt.Column("title:N", title=None))
    chart.save(Path(__file__).with_name("power.png"), scale_factor=2)


if __name__ == "__main__":
    main()
