"""Every picture of every probe that has reference results: its plots are high enough, and its titles fit.

Vega lays the pictures out, for the width of a page on a screen of 1280 and of 400 pixels. A picture of small multiples
has a width of its own, and scrolls in its box.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pytest
import vl_convert

from thalweg.present.probes import probes_by_label
from thalweg.registry import Registry
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.tables import read_table

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
WIDTHS = (830, 330)
"""Pixels of a page's content, on a screen of 1280 and on one of 400."""
LOWEST = 100
"""Pixels of the lowest plot."""
LETTER = 0.55
"""The mean width of a letter, in heights of the font."""


@cache
def tables() -> dict[str, tuple[str, list[pd.DataFrame]]]:
    """The name of each probe of the benchmark ``landscapes``, and the tables of up to two trials, by its label."""
    stored = read_stored(BenchmarkResults(REFERENCE, "landscapes"))
    found = {}
    for label, one in probes_by_label(stored.trials[["workload", "optimizer", "seed", "hash"]], stored.by_hash).items():
        titles = list(one.done)
        # the first network and the deepest one
        chosen = dict.fromkeys((titles[0], titles[-1]))
        made = [read_table(one.done[title], f"probes/{one.key}.parquet").assign(trial=title) for title in chosen]
        found[label] = (one.ref.name, made)
    return found


def pictures(registry: Registry) -> Iterator[tuple[str, alt.TopLevelMixin]]:
    """Every picture of one trial and of two trials, with its name."""
    for label, (name, made) in tables().items():
        probe = registry.probe(name)
        one, both = made[-1].drop(columns="trial"), pd.concat(made, ignore_index=True)
        for draw_name, draw in {"chart": probe.chart, **probe.views()}.items():
            for count, table in (("one trial", one), ("two trials", both)):
                drawn = draw(table)
                # a sentence in place of a picture has no plot
                if isinstance(drawn, alt.TopLevelMixin) and not _is_sentence(drawn):
                    yield f"{label}, {draw_name}, {count}", drawn


def _is_sentence(chart: Any) -> bool:
    return isinstance(chart, alt.Chart) and getattr(chart.mark, "type", chart.mark) == "text"


def laid_out(chart: alt.TopLevelMixin, width: int) -> dict[str, Any]:
    """Vega's scenegraph of a chart on a page of that width."""
    with alt.data_transformers.enable("default", max_rows=None):
        spec = chart.to_dict()
    if spec.get("width") == "container":
        spec |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    found: dict[str, Any] = vl_convert.vegalite_to_scenegraph(spec)
    return found


def marks(part: Any, role: str = "") -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every mark of that role below a part of a scenegraph, but legends, and each of its items."""
    if part.get("role", "").startswith("legend"):
        return
    for item in part.get("items", []):
        if "marktype" in item:
            yield from marks(item, role)
            continue
        if part.get("role", "").startswith(role):
            yield part, item
        for inner in item.get("items", []):
            yield from marks(inner, role)


@pytest.fixture(scope="module")
def drawn(registry: Registry) -> list[tuple[str, alt.TopLevelMixin]]:
    return list(pictures(registry))


@pytest.mark.parametrize("width", WIDTHS)
def test_plots_are_high_enough_and_titles_fit(drawn: list[tuple[str, alt.TopLevelMixin]], width: int) -> None:
    faults = []
    for name, chart in drawn:
        graph = laid_out(chart, width)["scenegraph"]
        plots = [item for mark, item in marks(graph) if mark["marktype"] == "group" and item.get("height", 0) > 0
                 and mark.get("role", "") in ("frame", "scope")]  # fmt: skip
        heights = [item["height"] for item in plots]
        if min(heights, default=LOWEST) < LOWEST:
            faults.append(f"{name}: a plot of {min(heights):.0f} pixels")
        length = {"y": max(heights, default=0.0), "x": max((item.get("width", 0.0) for item in plots), default=0.0)}
        for _, item in marks(graph, "axis-title"):
            text = item["text"] if isinstance(item["text"], str) else max(item["text"], key=len)
            along = "y" if item.get("angle") in (-90, 270) else "x"
            wide = LETTER * item.get("fontSize", 11) * len(text)
            if wide > length[along] + 40:
                faults.append(f"{name}: the title {text!r} has {wide:.0f} pixels, the plot {length[along]:.0f}")
    assert not faults, "\n".join(faults)
