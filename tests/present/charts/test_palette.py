"""An optimizer looks the same on every chart, and no two optimizers on a chart look alike."""

from __future__ import annotations

import ast
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import thalweg
import thalweg_plugins
from thalweg.contracts import Metric
from thalweg.expand import load_benchmark
from thalweg.present.charts.intervals import interval_chart
from thalweg.present.charts.over_all import ecdf_chart
from thalweg.present.charts.palette import (
    COLORS,
    DASHES,
    OPTIMIZERS,
    SHAPES,
    category_styles,
    optimizer_styles,
    trial_styles,
)
from thalweg.registry import Registry

NAMES = st.lists(st.one_of(st.sampled_from(sorted(OPTIMIZERS)), st.text(max_size=4)), max_size=63, unique=True)


@settings(deadline=None)
@given(NAMES)
def test_no_two_of_63_optimizers_look_alike_and_known_ones_keep_their_style(names: list[str]) -> None:
    styles = optimizer_styles(names)
    assert styles.keys() == set(names)
    assert len({(style.color, style.dash) for style in styles.values()}) == len(names)
    for name in OPTIMIZERS.keys() & styles.keys():
        assert (styles[name].color, styles[name].dash) == OPTIMIZERS[name]


def test_more_optimizers_than_styles_still_have_a_style() -> None:
    styles = optimizer_styles([str(number) for number in range(100)])
    assert len({(style.color, style.dash) for style in styles.values()}) == len(COLORS) * len(DASHES) == 63


def test_known_optimizers_have_pairs_of_their_own() -> None:
    assert len(set(OPTIMIZERS.values())) == len(OPTIMIZERS)
    assert len(SHAPES) == len(DASHES)


def test_every_built_in_optimizer_and_every_label_of_built_in_benchmarks_is_known(registry: Registry) -> None:
    names = {entry.name for entry in registry.entries("optimizers") if entry.plugin.origin == "built-in"}
    for entry in registry.entries("benchmarks"):
        names |= set(load_benchmark(entry.name, registry).spec.optimizers)
    assert names == OPTIMIZERS.keys()


def test_optimizers_of_a_built_in_benchmark_differ_in_colour_as_far_as_colours_allow(registry: Registry) -> None:
    for entry in registry.entries("benchmarks"):
        labels = load_benchmark(entry.name, registry).spec.optimizers
        colors = {OPTIMIZERS[label][0] for label in labels}
        assert len(colors) >= min(len(labels), len(COLORS)) - 1, entry.name


def lightness(color: str) -> float:
    """L* of CIELAB, 0 to 100, for an sRGB colour (IEC 61966-2-1)."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * luminance ** (1 / 3) - 16


def test_optimizers_of_a_built_in_benchmark_are_told_apart_in_greyscale(registry: Registry) -> None:
    for entry in registry.entries("benchmarks"):
        styles = [OPTIMIZERS[label] for label in load_benchmark(entry.name, registry).spec.optimizers]
        for (one, dash), (other, other_dash) in itertools.combinations(styles, 2):
            # L* 10 apart is several times what an eye can see
            assert dash != other_dash or abs(lightness(one) - lightness(other)) > 10, entry.name


def test_a_hash_of_a_name_is_the_same_in_every_process() -> None:
    code = "from thalweg.present.charts.palette import optimizer_styles; print(optimizer_styles(['mine'])['mine'])"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert told == [str(optimizer_styles(["mine"])["mine"])] * 2


def test_the_later_of_two_names_with_one_hash_takes_another_dash_of_the_colour() -> None:
    by_style: dict[Any, str] = {}
    for number in range(1000):
        name = f"name {number:03}"
        style = optimizer_styles([name])[name]
        if style in by_style:
            break
        by_style[style] = name
    first = by_style[style]
    styles = optimizer_styles([name, first])
    assert styles[first] == style
    assert styles[name].color == style.color
    assert styles[name].dash != style.dash


def test_a_trial_has_the_colour_of_its_optimizer() -> None:
    titles = [f"digits-mlp · {optimizer} · seed {seed}" for optimizer in ("adam", "sgd") for seed in (0, 1)]
    styles = trial_styles(titles)
    assert [styles[title].color for title in titles] == [OPTIMIZERS["adam"][0]] * 2 + [OPTIMIZERS["sgd"][0]] * 2
    assert (styles[titles[0]].color, styles[titles[0]].dash) == OPTIMIZERS["adam"]
    assert len({(style.color, style.dash) for style in styles.values()}) == 4
    assert trial_styles(["something else"]).keys() == {"something else"}


def test_categories_are_told_apart_by_place() -> None:
    names = [str(number) for number in range(63)]
    assert len({(style.color, style.dash) for style in category_styles(names).values()}) == 63


@pytest.mark.parametrize("among", [["adam"], ["adam", "sgd", "zzz", "adam:lr=0.1"]])
def test_charts_draw_an_optimizer_as_the_palette_says(among: list[str]) -> None:
    color, dash = OPTIMIZERS["adam"]
    board = pd.DataFrame({"optimizer": ["adam"], "value": [1.0], "low": [0.5], "high": [2.0]})
    spec: dict[str, Any] = interval_chart(board, Metric("loss", "lower", "log"), "train", among).to_dict()
    assert spec["layer"][1]["encoding"]["color"]["scale"] == {"domain": ["adam"], "range": [color]}
    curve = pd.DataFrame({"optimizer": "adam", "share": [0.01, 1.0], "reached": [0.0, 1.0]})
    encoding: dict[str, Any] = ecdf_chart(curve, among).to_dict()["encoding"]
    assert encoding["strokeDash"]["scale"]["range"] == [list(dash)]


def test_no_other_file_names_a_colour() -> None:
    for package in (thalweg, thalweg_plugins):
        folder = Path(package.__file__).parent
        for path in folder.rglob("*.py"):
            if path.name == "palette.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = node.value
                    is_color = len(text) == 7 and text[0] == "#" and set(text[1:].lower()) <= set("0123456789abcdef")
                    assert not is_color, f"{path}: {text}"
                    assert text.lower() not in ("viridis", "purpleorange"), f"{path}: {text}"
