"""Reads what ``Look.save`` wrote, and surfaces of Goldstein's tool."""

from __future__ import annotations

from pathlib import Path

from thalweg.look.result import Look
from thalweg.present.looks import read_look
from thalweg.registry import load_registry


def read(path: str | Path, split: str = "train") -> Look:
    """A look from a file.

    Args:
        path: a Parquet file that ``Look.save`` wrote, or the ``.h5`` file of a surface that Goldstein's tool wrote
            (github.com/tomgoldstein/loss-landscape, Li et al. 2018).
        split: of an ``.h5`` file, ``train`` or ``test``.

    An ``.h5`` file says that its losses have the shape (len(x), len(y)), and is filled row by row over y. Points that
    were not computed are left out.

    Raises:
        UserError: the file cannot be read, is no look, or its probe is not registered.
    """
    found = read_look(Path(path), load_registry(), split)
    return Look(found.probe, found.table, found.settings)
