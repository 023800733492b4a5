"""The part of an optimizer's path that is drawn."""

from __future__ import annotations

import pandas as pd

from thalweg.present.way import MOST, steps_of, until


def table(steps: int) -> pd.DataFrame:
    """A grid of four points, and a path."""
    grid = pd.DataFrame({"kind": "grid", "x": [0.0, 1.0] * 2, "y": [0.0, 0.0, 1.0, 1.0], "step": float("nan")})
    way = pd.DataFrame({"kind": "path", "x": 0.0, "y": 0.0, "step": [10.0 * number for number in range(steps)]})
    return pd.concat([grid, way], ignore_index=True)


def test_the_grid_stays_and_the_path_ends_at_the_step() -> None:
    shown = until(table(5), 20.0)
    assert (shown["kind"] == "grid").sum() == 4
    assert list(shown.loc[shown["kind"] == "path", "step"]) == [0.0, 10.0, 20.0]


def test_a_slider_has_the_first_and_the_last_step_and_not_too_many() -> None:
    steps = steps_of(table(1000))
    assert len(steps) <= MOST + 1
    assert (steps[0], steps[-1]) == (0.0, 9990.0)


def test_a_table_without_a_path_has_no_steps() -> None:
    assert steps_of(table(2)) == []
    assert steps_of(pd.DataFrame({"step": [1, 2, 3]})) == []
