"""The landscape page: the first trials, the path step by step, three dimensions, and tables with very many rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, expect
from streamlit.testing.v1 import AppTest

from app_server import serving
from thalweg.app.pages.landscape import CAMERAS, MOST_ROWS
from thalweg.store.results import BenchmarkResults

Show = Callable[..., AppTest]
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def path_rows(page: AppTest) -> int:
    """The points of the paths that the page's chart draws."""
    proto = page.get("vega_lite_chart")[0].proto
    found = 0
    for each in proto.datasets:
        table = pd.read_feather(each.data.data) if each.data.data[:6] == b"ARROW1" else _stream(each.data.data)
        if "point" in table:
            found = max(found, len(table))
    return found


def _stream(content: bytes) -> pd.DataFrame:
    import pyarrow as pa

    return pa.ipc.open_stream(content).read_pandas()


def test_the_page_begins_with_a_plane_of_each_workload(show: Show) -> None:
    page = show("landscape", REFERENCE, benchmark="quick")
    assert [title.split(" · ")[0] for title in page.multiselect(key="trials").value] == [
        "digits-mlp",
        "digits-deep-mlp",
        "quadratic",
    ]
    assert not page.error


def test_the_path_is_drawn_up_to_the_chosen_step(show: Show) -> None:
    page = show("landscape", REFERENCE, benchmark="quick", trials="digits-mlp · sgd · seed 0")
    slider = page.select_slider(key="way")
    steps = [float(option.replace(",", "")) for option in slider.options]
    assert steps[0] == 0.0
    whole = path_rows(page)
    assert whole == len(steps)
    slider.set_value(steps[3]).run()
    assert not page.exception
    assert path_rows(page) == 4


def test_a_path_that_plays_begins_at_its_start(show: Show) -> None:
    page = show("landscape", REFERENCE, benchmark="quick", trials="digits-mlp · sgd · seed 0")
    page.toggle(key="play").set_value(True).run()
    first = page.select_slider(key="way").value
    page.run()
    second = page.select_slider(key="way").value
    assert 0.0 == first < second


@pytest.mark.parametrize("camera", CAMERAS)
def test_all_chosen_planes_are_drawn_in_three_dimensions_with_one_camera(show: Show, camera: str) -> None:
    page = show("landscape", REFERENCE, benchmark="quick", picture="3-D", camera=camera)
    figure: dict[str, Any] = json.loads(page.get("plotly_chart")[0].proto.spec)
    scenes = {name: scene for name, scene in figure["layout"].items() if name.startswith("scene")}
    surfaces = [trace for trace in figure["data"] if trace["type"] == "surface"]
    assert len(surfaces) == len(page.multiselect(key="trials").value) == 3
    assert {trace.get("scene", "scene") for trace in surfaces} == {"scene", "scene2", "scene3"}
    eyes = [scenes[trace.get("scene", "scene")]["camera"]["eye"] for trace in surfaces]
    assert all(eye == dict(CAMERAS[camera]) for eye in eyes)


def test_of_very_many_rows_a_part_is_drawn_and_the_page_says_so(show: Show, results: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(results, root)
    rows = 3 * MOST_ROWS
    for trial in BenchmarkResults(root, "tiny").scan()[0]:
        for key in trial.document.probes:
            if key.startswith("line") and trial.document.probes[key].status == "done":
                path = trial.path / "probes" / f"{key}.parquet"
                table = pq.read_table(path).to_pandas()
                table = table.loc[table.index.repeat(-(-rows // len(table)))].head(rows)
                table.to_parquet(path, index=False)
    page = show("landscape", root, benchmark="tiny", probe="line (points=5)", trials="digits-mlp · sgd · seed 0")
    assert not page.exception
    assert any("draws one of 3 rows of 300,000" in each.value for each in page.caption)
    assert any("The first 1,000 of 300,000 rows" in each.value for each in page.caption)
    assert len(page.dataframe[0].value) == 1000


def test_the_page_says_what_the_networks_are(show: Show) -> None:
    page = show("landscape", REFERENCE, benchmark="landscapes", trials="plain-20 · adam · seed 0")
    assert any(
        "plain-20: resnet (depth=20, width=8, shortcuts=false, norm=batch)." in each.value for each in page.caption
    )


def test_a_large_surface_is_drawn_on_a_regular_part_of_its_grid_and_shared_whole(
    show: Show, results: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(results, root)
    side = 401
    for trial in BenchmarkResults(root, "tiny").scan()[0]:
        for key in trial.document.probes:
            if key.startswith("surface") and trial.document.probes[key].status == "done":
                path = trial.path / "probes" / f"{key}.parquet"
                table = pq.read_table(path).to_pandas()
                ticks = pd.DataFrame({"x": [2 * number / (side - 1) - 1 for number in range(side)]})
                grid = ticks.merge(ticks.rename(columns={"x": "y"}), how="cross")
                grid = grid.assign(loss=grid["x"] ** 2 + grid["y"] ** 2 + 0.1, kind="grid")
                rest = table.iloc[:1][[name for name in table if name not in grid]]
                grid = grid.merge(rest, how="cross")[list(table)]
                pd.concat([grid, table[table["kind"] == "path"]], ignore_index=True).to_parquet(path, index=False)
    page = show("landscape", root, benchmark="tiny", probe="surface (resolution=5)")
    assert not page.exception
    assert not any("draws one of" in each.value for each in page.caption)
    spec = json.loads(page.get("vega_lite_chart")[0].proto.spec)
    assert "drawn: 1 of 2 rows and columns of 401 × 401 points, and the rim" in spec["title"]["subtitle"]
    assert any(f"of {side**2 + path_rows(page):,} rows" in each.value for each in page.caption)


@pytest.mark.parametrize("picture", ["chart", "heat map", "merge tree", "persistence barcode"])
def test_several_planes_are_charts_of_their_own_on_one_scale_with_one_legend(show: Show, picture: str) -> None:
    page = show("landscape", REFERENCE, benchmark="quick", picture=picture)
    specs = [json.loads(chart.proto.spec) for chart in page.get("vega_lite_chart")]
    assert [spec["title"]["text"] for spec in specs] == page.multiselect(key="trials").value
    colors = [[*encodings(spec, "color")] for spec in specs]
    scales = {json.dumps(color["scale"], sort_keys=True) for each in colors for color in each}
    assert len(scales) == 1
    assert all(color["legend"] is None for each in colors[:-1] for color in each)
    assert any(color["legend"] for color in colors[-1])


def encodings(spec: dict[str, Any], channel: str) -> Iterator[dict[str, Any]]:
    """The encodings of a channel by a column."""
    for layer in spec.get("layer", []):
        yield from encodings(layer, channel)
    found = spec.get("encoding", {}).get(channel, {})
    if "field" in found:
        yield found


@pytest.mark.browser
def test_on_a_phone_planes_stand_below_each_other(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, "--results", str(REFERENCE)) as served:
        boxes = {}
        for width in (400, 1280):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(f"{served.printed}&benchmark=quick".replace("/?", "/landscape?"))
            charts = page.locator(".st-key-probe-chart svg.marks, .st-key-probe-chart canvas")
            expect(charts).to_have_count(3, timeout=120_000)
            boxes[width] = [box for chart in charts.all() if (box := chart.bounding_box())]
            inside = "box => box.scrollWidth <= box.clientWidth + 1"
            assert page.locator(".st-key-probe-chart").evaluate(inside)
        left = {width: len({round(box["x"]) for box in found}) for width, found in boxes.items()}
        assert left == {400: 1, 1280: 2}
        assert all(box["x"] + box["width"] <= 400 for box in boxes[400])
