"""A concatenation that a page takes apart: the same scales, one legend, and never another picture."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import pytest

from thalweg.present.charts.apart import apart

TABLE = pd.DataFrame({"x": [0, 1, 2], "y": [1, 3, 2], "of": ["a", "b", "a"]})
NAMES = alt.Scale(domain=["a", "b", "c"], range=["red", "green", "blue"])


def part(table: pd.DataFrame, scale: alt.Scale = NAMES) -> alt.LayerChart | alt.FacetChart:
    """Points and a line, coloured by a name."""
    base = alt.Chart(table).encode(x="x:Q", y="y:Q")
    color = alt.Color("of:N", scale=scale, legend=alt.Legend(orient="bottom"))
    return alt.layer(base.mark_line(color="grey"), base.mark_point().encode(color=color)).properties(width=200)


def legends(chart: Any) -> list[Any]:
    """The legends of the colours in a chart; None for a chart whose colours have no legend."""
    spec: dict[str, Any] = chart.to_dict()
    return [layer["encoding"]["color"]["legend"] for layer in spec["layer"] if "color" in layer["encoding"]]


def test_parts_have_the_scales_of_the_whole_and_one_legend() -> None:
    whole = alt.concat(part(TABLE), part(TABLE.iloc[:1]), title="Two")
    before = whole.to_dict()
    parts = apart(whole)
    assert [legends(one) for one in parts] == [[None], [{"orient": "bottom"}]]
    for one in parts:
        drawn = next(layer for layer in one.to_dict()["layer"] if "color" in layer["encoding"])
        assert drawn["encoding"]["color"]["scale"] == NAMES.to_dict()
        assert one.to_dict()["datasets"]
    # the whole still has its own legends
    assert whole.to_dict() == before


def test_parts_with_the_same_data_keep_it() -> None:
    table = TABLE.copy()
    parts = apart(
        alt.concat(alt.Chart(table).mark_point().encode(x="x:Q"), alt.Chart(table).mark_line().encode(y="y:Q"))
    )
    assert [len(next(iter(one.to_dict()["datasets"].values()))) for one in parts] == [3, 3]


@pytest.mark.parametrize(
    "chart",
    [
        alt.concat(part(TABLE, alt.Scale()), part(TABLE, alt.Scale())),
        alt.concat(part(TABLE), part(TABLE, alt.Scale(domain=["a", "b"], range=["red", "green"]))),
        alt.concat(part(TABLE), part(TABLE)).resolve_scale(x="shared"),
        alt.concat(part(TABLE), alt.Chart(TABLE).mark_point().encode(x="x:Q").add_params(alt.selection_interval())),
    ],
    ids=["colours that depend on the data", "different colours", "a shared axis", "a selection"],
)
def test_what_belongs_together_stays_together(chart: alt.ConcatChart) -> None:
    assert apart(chart) == []
