"""Runs as another tool logged them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

COLUMNS = ("step", "key", "value")
"""The columns that every table of a run has."""

COSTS = ("epoch", "examples", "gradient_evaluations", "curvature_products", "factor_inversions", "work", "seconds")
"""What a table may say besides of each row, in the units of a trial's curve."""


@dataclass(frozen=True)
class ForeignRun:
    """One training as it was logged."""

    name: str
    """What tells it apart in its source."""
    source: Path
    """The file or folder."""
    rows: pd.DataFrame
    """COLUMNS, and perhaps some of COSTS. ``key`` is the tool's own name of what ``value`` is of."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters and whatever else the source says of the run: numbers, texts, truth values."""
    status: Literal["done", "diverged", "failed", ""] = ""
    """As the source says; empty where it does not."""
    reason: str = ""


@dataclass(frozen=True)
class Read:
    """What a reader found."""

    format: str
    """The name of the reader."""
    version: str
    """The versions of the reader and of its library."""
    runs: list[ForeignRun]
    notes: list[str] = field(default_factory=list)
    """What one must know of the format to trust the numbers."""
