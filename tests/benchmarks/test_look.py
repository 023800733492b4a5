"""A surface of a notebook against the evaluation of its points alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from surfaces import digits, mlp
from thalweg import look
from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.landscape.evaluate import Plane, flat, losses_at
from timing import ratio

SIDE = 25


@pytest.mark.benchmark(group="looking against evaluation alone")
@pytest.mark.parametrize("examples", [128, 1797])
def test_look_surface_against_losses_at(benchmark: Any, examples: int) -> None:
    """``look`` copies the module, reads the data, finds minima and makes a table besides."""
    torch.manual_seed(0)
    module, problem = mlp().eval(), digits(examples)
    x, y = problem.data["train"]
    ticks = [(i - SIDE // 2) / (SIDE // 2) for i in range(SIDE)]

    def points() -> Plane:
        generator = torch.Generator().manual_seed(0)
        d1, d2 = (filter_normalized(module, random_direction(module, generator)) for _ in "12")
        return Plane(flat(module), d1, d2, ticks, ticks)

    def ours() -> Tensor:
        table = look.surface(module, "cross_entropy", (x, y), resolution=SIDE, progress=False).table
        return torch.tensor(table.loc[table["kind"] == "grid", "loss"].to_numpy())

    def theirs() -> Tensor:
        return losses_at(module, problem, points(), metrics=("loss",))["loss"]

    assert len(ours()) == len(theirs()) == SIDE**2
    benchmark.extra_info["ratio"] = ratio(ours, theirs, 7)
    benchmark.pedantic(ours, rounds=1)
