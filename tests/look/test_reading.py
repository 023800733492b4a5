"""Looks that were saved, and surfaces of Goldstein's tool."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from thalweg import look
from thalweg.errors import UserError


def saved(path: Path) -> look.Look:
    data = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3
    found = look.surface(torch.nn.Linear(4, 3), torch.nn.CrossEntropyLoss(), data, resolution=5)
    found.save(path)
    return found


def test_a_look_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    first = saved(tmp_path / "a.parquet")
    again = look.read(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(again.table, first.table, check_dtype=False)
    assert again.settings["options"] == first.settings["options"]
    assert repr(again) == repr(first)
    assert again.chart("heat map").to_dict()


def goldstein(path: Path, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A file as plot_surface.py fills it: the shape (len(x), len(y)), written by flat places of np.meshgrid(x, y)."""
    mesh_x, mesh_y = np.meshgrid(x, y)
    losses = -np.ones((len(x), len(y)))
    for place in range(losses.size - 1):  # the last point is not computed
        losses.ravel()[place] = 1 + 10 * mesh_x.ravel()[place] ** 2 + mesh_y.ravel()[place] ** 2
    with h5py.File(path, "w") as file:
        file["xcoordinates"], file["ycoordinates"], file["train_loss"] = x, y, losses
        file["train_acc"] = 100 * np.ones_like(losses)
    return losses


@pytest.mark.parametrize(("columns", "rows"), [(5, 5), (5, 3), (3, 7)])
def test_goldsteins_surfaces_are_filled_row_by_row(tmp_path: Path, columns: int, rows: int) -> None:
    goldstein(tmp_path / "s.h5", np.linspace(-1, 1, columns), np.linspace(-2, 2, rows))
    found = look.read(tmp_path / "s.h5")
    grid = found.table[found.table["kind"] == "grid"]
    assert len(grid) == columns * rows - 1
    np.testing.assert_allclose(grid["loss"], 1 + 10 * grid["x"] ** 2 + grid["y"] ** 2)
    assert (grid["x"].nunique(), grid["y"].nunique()) == (columns, rows)
    assert found.table.loc[found.table["kind"] == "path", "loss"].tolist() == [1.0]
    assert (found.settings["computed"], found.settings["points"]) == (columns * rows - 1, columns * rows)
    for view in (None, "heat map"):
        assert found.chart(view).to_dict()
    assert "s.h5" in repr(found)


def test_what_is_no_look_is_one_line(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet: is a table without the settings of a look"):
        look.read(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"t\.parquet: cannot be read"):
        look.read(tmp_path / "t.parquet")
    (tmp_path / "s.h5").write_bytes(b"no")
    with pytest.raises(UserError, match=r"s\.h5: is no HDF5 file"):
        look.read(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["xcoordinates"] = [0.0]
    with pytest.raises(UserError, match="has no 'ycoordinates'"):
        look.read(tmp_path / "s.h5")
    goldstein(tmp_path / "other.h5", np.linspace(-1, 1, 3), np.linspace(-1, 1, 3))
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["xcoordinates"] = file["ycoordinates"] = np.linspace(-1, 1, 3)
        file["train_loss"] = h5py.ExternalLink("other.h5", "train_loss")
    with pytest.raises(UserError, match="'train_loss' is no array of numbers in this file"):
        look.read(tmp_path / "s.h5")
    with pytest.raises(UserError, match="is none of"):
        look.read(tmp_path / "s.txt")
    with pytest.raises(UserError, match="cannot be read"):
        look.read(tmp_path / "missing.parquet")


def test_sizes_are_checked_before_values_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goldstein(tmp_path / "s.h5", np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    monkeypatch.setenv("THALWEG_MAX_POINTS", "24")
    with pytest.raises(UserError, match=r"s\.h5: 25 points are more than the limit of 24"):
        look.read(tmp_path / "s.h5")
