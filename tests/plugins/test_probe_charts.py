"""Every chart of every probe, for real tables and for tables with little or nothing to draw."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probing import table_of
from thalweg.registry import load_registry
from thalweg.testing.probes import _context
from thalweg.testing.small import Workbench
from thalweg_plugins.probes._charts import color_and_dash, number_format

REGISTRY = load_registry()
PROBES = [entry.name for entry in REGISTRY.entries("probes")]
PICTURES = [(name, view) for name in PROBES for view in ("", *REGISTRY.probe(name).views())]


@functools.cache
def real(name: str) -> pd.DataFrame:
    """The table after a few steps."""
    return table_of(REGISTRY.probe(name), _context(REGISTRY, name, Workbench(REGISTRY, "sgd")))


def nowhere(table: pd.DataFrame) -> pd.DataFrame:
    """Every number missing."""
    return table.assign(**dict.fromkeys(table.select_dtypes("number"), np.nan))


def infinite(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its positions, and values that alternate between infinity and minus infinity."""
    where = {"step", "epoch", "depth", "draw", "t", "x", "y", "at", "index", "rho", "restart", "lr", "draws", "vectors"}
    values = [name for name in table.select_dtypes("number") if name not in where]
    return table.assign(**{name: np.where(np.arange(len(table)) % 2, np.inf, -np.inf) for name in values})


def trials(table: pd.DataFrame, count: int) -> pd.DataFrame:
    names = [f"mlp on digits, adam with weight decay and warmup, seed {i}" for i in range(count)]
    return pd.concat([table.assign(trial=name) for name in names], ignore_index=True)


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "real": lambda table: table,
    "one row": lambda table: table.iloc[:1],
    "one row of each kind": lambda table: table,
    "all nan": nowhere,
    "all infinite": infinite,
    "empty": lambda table: table.iloc[:0],
    "two trials": lambda table: trials(table, 2),
    "ten trials": lambda table: trials(table, 10),
    "two trials of one row": lambda table: trials(table.iloc[:1], 2),
    "two trials of nan": lambda table: trials(nowhere(table), 2),
}


def document(name: str, view: str, table: pd.DataFrame) -> dict[str, Any]:
    """The chart as the browser receives it."""
    probe = REGISTRY.probe(name)
    drawn: Any = probe.views()[view](table) if view else probe.chart(table)
    found: dict[str, Any] = json.loads(drawn.to_json())
    return found


@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize(("name", "view"), PICTURES, ids=[f"{name}-{view or 'chart'}" for name, view in PICTURES])
def test_every_picture_can_be_drawn_and_has_a_title(name: str, view: str, of: str) -> None:
    if view == "3-D":
        pytest.importorskip("plotly")
    table = real(name)
    if of == "one row of each kind":
        for column in table.select_dtypes(exclude="number"):
            for _, part in table.groupby(column):
                assert document(name, view, part.iloc[:1])
        return
    found = document(name, view, TABLES[of](table))
    assert found["layout" if view == "3-D" else "$schema"]
    assert found["layout"]["title"] if view == "3-D" else found["title"]


def test_fifty_six_lines_have_different_styles() -> None:
    names = [str(i) for i in range(56)]
    encoded = color_and_dash("x", "x", names)
    colors, dashes = (encoded[channel]["scale"]["range"] for channel in ("color", "strokeDash"))
    assert len({(color, str(dash)) for color, dash in zip(colors, dashes, strict=True)}) == 56
    ordered = color_and_dash("x", "x", names, ordered=True)
    assert ordered["color"]["scale"]["scheme"]["name"] == "viridis"


def parts(found: Any, key: str) -> list[Any]:
    """Every value of a key in a document, but for its data."""
    if isinstance(found, list):
        return [value for each in found for value in parts(each, key)]
    if not isinstance(found, dict):
        return []
    here = [found[key]] if key in found else []
    return here + [value for name, each in found.items() if name != "datasets" for value in parts(each, key)]


def mark_types(found: Any) -> set[str]:
    return {mark if isinstance(mark, str) else mark["type"] for mark in parts(found, "mark")}


@pytest.mark.parametrize("name", ["line", "noise-scale", "sharpness", "gradient-flow"])
def test_trials_are_told_apart_in_one_legend_of_lines_with_whole_names(name: str) -> None:
    found = document(name, "over depth" if name == "gradient-flow" else "", trials(real(name), 3))
    for channel in ("color", "strokeDash"):
        encoded = [each for each in parts(found, channel) if isinstance(each, dict) and each.get("field") == "trial"]
        assert encoded
        for each in encoded:
            assert len(each["scale"]["domain"]) == 3
            assert each["legend"]["symbolType"] == "stroke"
            assert each["legend"]["labelLimit"] == 0
            assert each["legend"]["symbolOpacity"] == 1
            assert each == encoded[0]


def test_eigenvalue_and_threshold_differ_in_the_legend() -> None:
    found = document("edge-of-stability", "", real("edge-of-stability"))
    (dash,) = parts(found, "strokeDash")
    assert dash["legend"]["symbolType"] == "stroke"
    # a filled point with this encoding would make the legend's lines transparent
    assert [layer["mark"]["type"] for layer in found["layer"] if "strokeDash" in layer["encoding"]] == ["line"]


def test_one_measurement_of_a_range_is_a_bar_and_a_point() -> None:
    for view in ("", "gradient predictiveness"):
        found = document("smoothness", view, real("smoothness").iloc[:1])
        assert "rule" in mark_types(found)
        assert "rule" not in mark_types(document("smoothness", view, pd.concat([real("smoothness")] * 2)))
    assert parts(document("smoothness", "effective smoothness", real("smoothness").iloc[:1]), "mark")[0]["point"]


def test_depths_are_whole_numbers() -> None:
    found = document("gradient-flow", "over depth", real("gradient-flow"))
    axes = [x["axis"] for x in parts(found, "x")]
    assert axes
    depths = real("gradient-flow").groupby("quantity")["depth"].max()
    assert sorted(axis["values"] for axis in axes) == sorted(list(range(1, depth + 1)) for depth in depths)


def test_maximum_and_average_of_sharpness_have_scales_of_their_own() -> None:
    panels = document("sharpness", "", real("sharpness"))["concat"]
    assert [panel["title"] for panel in panels] == ["maximum, from below", "Gaussian average"]


def test_numbers_on_an_axis_are_all_written_in_one_way() -> None:
    assert number_format(pd.Series([20.0, 40, 80, 100])) == "~r"
    assert number_format(pd.Series([1e-7, -3e-6])) == "~e"
    assert number_format(pd.Series([2e7, np.nan])) == "~e"
    found = document("spectrum", "", real("spectrum"))
    assert {x["axis"]["format"] for x in parts(found, "x") if "axis" in x} <= {"~r", "~e"}


def surface_of(side: int, draws: int = 1) -> pd.DataFrame:
    """A table of bowls with a path, as the probe ``surface`` makes it; one corner has no finite loss."""
    ticks = np.linspace(-1, 1, side)
    x, y = (axis.ravel() for axis in np.meshgrid(ticks, ticks, indexing="ij"))
    loss = x**2 + y**2 + 0.1
    loss[:3] = np.inf
    grid = pd.DataFrame({"kind": "grid", "x": x, "y": y, "loss": loss, "step": np.nan})
    path = pd.DataFrame({"kind": "path", "x": [0.5, 0.2, 0.0], "y": 0.0, "loss": 0.2, "step": [0.0, 1.0, 2.0]})
    one = pd.concat([grid, path.assign(in_plane=0.5)], ignore_index=True).assign(scale="log", directions="path")
    return pd.concat([one.assign(draw=draw) for draw in range(draws)], ignore_index=True)


@pytest.mark.parametrize("count", [2, 3, 8, 9, 100, 401])
@pytest.mark.parametrize("every", [1, 2, 3, 7, 500])
def test_the_drawn_ticks_are_regular_and_have_the_middle_and_both_ends(count: int, every: int) -> None:
    from thalweg_plugins.probes._surface_charts import kept

    ticks = kept(count, every)
    assert {0, (count - 1) // 2, count - 1} <= set(ticks)
    steps = np.diff(ticks)
    assert (steps <= every).all()
    # between the ends all steps are equal
    assert (steps[1:-1] == every).all()


@pytest.mark.parametrize(("sides", "every"), [([316], 1), ([317], 2), ([317, 317], 2), ([201] * 3, 2), ([1001], 4)])
def test_a_grid_is_thinned_as_little_as_the_limit_asks_for(sides: list[int], every: int) -> None:
    from thalweg_plugins.probes._surface_charts import MOST_POINTS, stride, thinned

    parts = [surface_of(side) for side in sides]
    assert stride(parts) == every
    drawn = [thinned(part, every) for part in parts]
    assert sum(int((part["kind"] == "grid").sum()) for part in drawn) <= MOST_POINTS
    for whole, part in zip(parts, drawn, strict=True):
        grid = part[part["kind"] == "grid"]
        # a whole grid: each row has each column
        assert len(grid) == grid["x"].nunique() * grid["y"].nunique()
        assert (part["kind"] == "path").sum() == 3
        assert (grid["x"].min(), grid["x"].max()) == (whole["x"].min(), whole["x"].max())


def cells_of(found: dict[str, Any]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(rows) for rows in found["datasets"].values() if rows and "left" in rows[0]])


@pytest.mark.parametrize("side", [5, 24, 25])
@pytest.mark.parametrize("most", [40, 100_000])
def test_the_cells_of_a_heat_map_leave_no_gap(side: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg_plugins.probes._surface_charts.MOST_POINTS", most)
    cells = cells_of(document("surface", "heat map", surface_of(side)))
    areas = (cells["right"] - cells["left"]) * (cells["high"] - cells["low"])
    # they fill the square of area 4, each point of it once: both ends of a cell are a neighbour's or the rim
    assert areas.sum() == pytest.approx(4.0)
    assert set(cells["right"]) - {1.0} == set(cells["left"]) - {-1.0}
    assert ((cells["left"] <= cells["x"]) & (cells["x"] <= cells["right"])).all()


@pytest.mark.parametrize("view", ["", "heat map"])
def test_a_picture_of_a_part_says_so_and_counts_the_whole(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg_plugins.probes._surface_charts.MOST_POINTS", 200)
    lines = document("surface", view, surface_of(25))["title"]["subtitle"]
    assert "drawn: 1 of 2 rows and columns of 25 × 25 points, and the rim" in lines
    assert any(line.startswith("3 points have no finite value") for line in lines)
    whole = document("surface", view, surface_of(13))["title"]["subtitle"]
    assert not any(line.startswith("drawn:") for line in whole)


def test_the_valleys_of_a_large_surface_are_those_of_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    table = surface_of(25)
    # a hole of one point, in a row and a column that a thinned picture leaves out
    hole = table.index[(table["kind"] == "grid") & np.isclose(table["x"], 7 / 12) & np.isclose(table["y"], 7 / 12)]
    table.loc[hole, "loss"] = 0.01
    monkeypatch.setattr("thalweg_plugins.probes._surface_charts.MOST_POINTS", 200)
    for view in ("merge tree", "persistence barcode"):
        assert document("surface", view, table)["title"]["subtitle"][0].startswith("2 minima")


def test_reliefs_of_a_part_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg_plugins.probes._surface_charts import relief

    figure: Any = relief(surface_of(25, draws=2))
    assert "rows and columns" not in figure.layout.title.text
    monkeypatch.setattr("thalweg_plugins.probes._surface_charts.MOST_POINTS", 400)
    figure = relief(surface_of(25, draws=2))
    assert figure.layout.title.text.endswith("1 of 2 rows and columns")
    assert [trace.z.shape for trace in figure.data if trace.type == "surface"] == [(13, 13), (13, 13)]


def test_a_cell_beyond_the_levels_has_the_colour_at_the_end_of_the_scale() -> None:
    import vl_convert

    table = surface_of(25)
    # the levels begin at a quantile of the losses, far above this one
    table.loc[(table["x"] == 0.0) & (table["y"] == 0.0) & (table["kind"] == "grid"), "loss"] = 1e-9
    svg = vl_convert.vegalite_to_svg(document("surface", "heat map", table))
    darkest = [sum(map(int, rgb)) for rgb in re.findall(r'fill="rgb\((\d+), (\d+), (\d+)\)"', svg)]
    # viridis begins at rgb(68, 1, 84)
    assert min(darkest) == 68 + 1 + 84
