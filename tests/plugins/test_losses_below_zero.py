"""Losses below zero have no logarithm: pictures and tolerances are linear then, and say so."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from probing import context
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.probe import SavedWeights
from thalweg.landscape import flat
from thalweg.registry import Registry

DEPTH = 3.0


class Point(nn.Module):
    """The point at which the function is evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([0.5, -0.5], dtype=torch.float64))

    def forward(self) -> torch.Tensor:
        return self.x


WELL = AnalyticFunction(lambda x: (x * x).sum() - DEPTH, lambda _: torch.zeros(2))
"""||x||^2 - 3, below zero within a circle."""


def measured(registry: Registry, name: str, **given: Any) -> pd.DataFrame:
    module = Point()
    looking = context(registry, name, WELL, module, **given)
    start = {"x": torch.tensor([2.0, 1.0], dtype=torch.float64)}
    path = torch.stack([start["x"], torch.tensor([1.0, 1.0], dtype=torch.float64), flat(module)])
    looking.weights = SavedWeights(start, module.state_dict(), path, (0, 1, 2))
    looking.lr = 0.1
    return pd.DataFrame(registry.probe(name).measure(looking))


@pytest.mark.parametrize("tolerance", [0.0, 0.02])
def test_a_surface_below_zero_is_linear_and_whole(registry: Registry, tolerance: float) -> None:
    table = measured(
        registry, "surface", resolution=9, tolerance=tolerance, scale="log", directions="random", normalization="none"
    )
    assert set(table["scale"]) == {"linear"}
    grid = table[table["kind"] == "grid"]
    assert np.isfinite(grid["loss"]).all()
    center = grid.loc[(grid["x"] == 0) & (grid["y"] == 0), "loss"].item()
    # the centre of a grid is evaluated, or interpolated to the tolerance's share of the range
    assert abs(center - (0.5 - DEPTH)) <= max(2 * tolerance, 1e-12) * np.ptp(grid["loss"])
    spec = json.dumps(registry.probe("surface").chart(table).to_dict())
    assert "linear scale, since the loss goes below zero" in spec
    assert '"type": "log"' not in spec


@pytest.mark.parametrize(("name", "given"), [("line", {}), ("smoothness", {}), ("directions", {"points": 11})])
def test_a_curve_below_zero_is_drawn_on_a_linear_scale_that_is_named(
    registry: Registry, name: str, given: dict[str, Any]
) -> None:
    table = measured(registry, name, **given)
    below, above = (registry.probe(name).chart(moved(table, by)).to_dict() for by in (0.0, 10.0))
    assert "loss (linear scale)" in json.dumps(below)
    assert '"type": "log"' not in json.dumps(below)
    assert "not finite" not in json.dumps(below)
    assert "loss (log scale)" in json.dumps(above)


def moved(table: pd.DataFrame, by: float) -> pd.DataFrame:
    """The table with all losses raised by a constant."""
    columns = [column for column in ("loss", "loss_low", "loss_high", "value") if column in table]
    return table.assign(**{column: table[column] + by for column in columns})


def test_a_band_that_is_cut_on_a_log_scale_keeps_its_numbers_and_says_so(registry: Registry) -> None:
    rows = [(0.0, 100.0, 50.0, 200.0), (1.0, 80.0, -30.0, 190.0)]
    table = pd.DataFrame(rows, columns=["epoch", "value", "low", "high"]).assign(
        step=0, quantity="noise scale", unit="examples", draws=5
    )
    spec = registry.probe("noise-scale").chart(table).to_dict()
    (data,) = spec["datasets"].values()
    assert [row["low"] for row in data] == [50.0, -30.0]
    assert [row["drawn"] for row in data] == [50.0, 8.0]
    assert "1 of its lower ends are below 8, and drawn there" in json.dumps(spec)


def test_a_density_below_the_floor_keeps_its_number(registry: Registry) -> None:
    numbers = [1.0, 1e-12]
    table = pd.DataFrame({"at": [0.0, 1.0], "value": numbers, "low": numbers, "high": numbers}).assign(
        kind="density", quantity="", index=np.nan, layer="", unit="", vectors=1.0, sigma=0.1, matrix="hessian"
    )
    spec = registry.probe("spectrum").chart(table).to_dict()
    (data,) = [rows for rows in spec["datasets"].values() if "found" in rows[0]]
    assert [row["found"] for row in data] == numbers
    assert min(row["value"] for row in data) == 1e-7
