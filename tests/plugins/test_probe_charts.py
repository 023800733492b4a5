"""Every chart of every probe, for real tables and for tables with little or nothing to draw."""

from __future__ import annotations

import functools
import json
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
