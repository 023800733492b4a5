"""Files of looks: what ``Look.save`` wrote, and surfaces of Goldstein's tool. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thalweg import guard
from thalweg.contracts import Probe
from thalweg.errors import UserError
from thalweg.limits import POINTS
from thalweg.registry import Registry
from thalweg.store.files import FolderFiles
from thalweg.store.tables import read_metadata, read_table

HDF5 = (".h5", ".hdf5")
"""Endings of Goldstein's files."""

ENDINGS = (".parquet", *HDF5)
"""Endings of what is read."""

_NOT_COMPUTED = -1.0
"""What Goldstein's tool writes at points that it has not evaluated."""


@dataclass(frozen=True)
class SavedLook:
    """A table with its probe and its settings."""

    probe: Probe
    table: pd.DataFrame
    settings: dict[str, Any]


def looks_in(folder: Path) -> list[Path]:
    """The files of looks in a folder, and in the folders in it."""
    names = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix.lower() in ENDINGS]
    return sorted(path for path in names if guard.is_regular(path) and _says_probe(path))


def _says_probe(path: Path) -> bool:
    if path.suffix.lower() in HDF5:
        return True
    try:
        return "probe" in read_metadata(FolderFiles(path.parent), path.name)
    except (OSError, ValueError):
        return False


def read_look(path: Path, registry: Registry, split: str = "train") -> SavedLook:
    """A look from a file; see ``thalweg.look.read``.

    Raises:
        UserError: the file cannot be read, is no look, or its probe is not registered.
    """
    if path.suffix.lower() in HDF5:
        return _goldstein(path, registry, split)
    if path.suffix.lower() != ".parquet":
        raise UserError(f"{path}: is none of {', '.join(ENDINGS)}")
    files = FolderFiles(path.parent)
    try:
        settings = read_metadata(files, path.name)
        table = read_table(files, path.name)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    name = settings.pop("probe", None)
    if not isinstance(name, str) or not isinstance(settings.get("options"), dict):
        raise UserError(f"{path}: is a table without the settings of a look")
    probe = registry.probe(name, str(path))
    lacking = [column.name for column in probe.columns if column.name not in table]
    if lacking:
        raise UserError(f"{path}: probe {name!r} has a column {lacking[0]!r}, and this table has none")
    return SavedLook(probe, table, settings)


def _goldstein(path: Path, registry: Registry, split: str) -> SavedLook:
    with _opened(path) as file:
        names = {"x": "xcoordinates", "y": "ycoordinates", "loss": f"{split}_loss"}
        lacking = [name for name in names.values() if name not in file]
        if lacking:
            raise UserError(f"{path}: has no {lacking[0]!r}, as surfaces of Goldstein's tool have")
        for name in names.values():
            _check_own(path, file, name)
        sizes = {key: int(file[name].size) for key, name in names.items()}
        POINTS.check(sizes["loss"], str(path))
        if sizes["x"] * sizes["y"] != sizes["loss"]:
            raise UserError(
                f"{path}: {names['loss']} has {sizes['loss']:,} values, and {sizes['x']:,} x {sizes['y']:,} are needed"
            )
        found = {key: np.asarray(file[name], dtype=np.float64).ravel() for key, name in names.items()}
    # the file says the shape (len(x), len(y)), and holds a mesh whose rows are y
    y, x = np.meshgrid(found["y"], found["x"], indexing="ij")
    grid = pd.DataFrame({"kind": "grid", "x": x.ravel(), "y": y.ravel(), "loss": found["loss"]})
    computed = grid["loss"] != _NOT_COMPUTED
    losses = grid.loc[computed, "loss"]
    if losses.empty:
        raise UserError(f"{path}: none of the {len(grid):,} points is computed")
    probe = registry.probe("surface")
    center = grid[computed & (grid["x"] == 0) & (grid["y"] == 0)].assign(kind="path", step=0.0)
    scale = "log" if (losses > 0).all() else "linear"
    table = pd.concat([grid[computed], center], ignore_index=True).assign(draw=0, scale=scale, directions="as given")
    missing = {column.name: "" if column.name == "method" else np.nan for column in probe.columns}
    table = table.assign(**{name: value for name, value in missing.items() if name not in table})
    settings = {
        "module": path.name,
        "examples": 0,
        "options": {},
        "computed": int(computed.sum()),
        "points": len(grid),
        "split": split,
    }
    return SavedLook(probe, table[[column.name for column in probe.columns]], settings)


def _check_own(path: Path, file: Any, name: str) -> None:
    """UserError where the numbers of a name lie in another file, or are none."""
    import h5py

    own = isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset)
    if not own or file[name].external or file[name].is_virtual or file[name].dtype.kind not in "fiu":
        raise UserError(f"{path}: {name!r} is no array of numbers in this file")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{path}: needs h5py: pip install 'thalweg[import]'") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # h5py raises errors of many kinds for damaged files
        raise UserError(f"{path}: is no HDF5 file that can be read: {error}") from error
