"""Every picture of every probe, of real tables and of such as have little or nothing to draw."""

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
    """Positions as they are, and every value infinite, by turns above and below."""
    where = {"step", "epoch", "depth", "draw", "t", "x", "y", "at", "index", "rho", "restart", "lr", "draws", "vectors"}
    values = [name for name in table.select_dtypes("number") if name not in where]
    return table.assign(**{name: np.where(np.arange(len(table)) % 2, np.inf, -np.inf) for name in values})


def trials(table: pd.DataFrame, count: int) -> pd.DataFrame:
    names = [f"mlp on digits, adam with weight decay and warmup, seed {i}" for i in range(count)]
    return pd.concat([table.assign(trial=name) for name in names], ignore_index=True)


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "real": lambda table: table,
    "one row": lambda table: table.iloc[:1],
    "every row alone": lambda table: table,
    "all nan": nowhere,
    "all infinite": infinite,
    "empty": lambda table: table.iloc[:0],
    "two trials": lambda table: trials(table, 2),
    "ten trials": lambda table: trials(table, 10),
    "two trials of one row": lambda table: trials(table.iloc[:1], 2),
    "two trials of nan": lambda table: trials(nowhere(table), 2),
}


def document(name: str, view: str, table: pd.DataFrame) -> dict[str, Any]:
    """The picture as it is sent to a browser."""
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
    if of == "every row alone":
        for kind in dict.fromkeys(table[table.columns[0]].tolist()):
            document(name, view, table[table[table.columns[0]] == kind].iloc[:1])
        return
    found = document(name, view, TABLES[of](table))
    assert found["layout" if view == "3-D" else "$schema"]
    assert found["layout"]["title"] if view == "3-D" else found["title"]
