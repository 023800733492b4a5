"""Collects a curve: one row per evaluation, split and metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from thalweg.store.curve import curve_table


@dataclass
class Recorder:
    """The rows so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, position: Mapping[str, Any], split: str, values: Mapping[str, float]) -> None:
        """Add a row for each value at a position, which has the columns of a curve from step to seconds."""
        self.rows += [
            {**position, "split": split, "metric": metric, "value": value} for metric, value in values.items()
        ]

    def table(self) -> pd.DataFrame:
        """The curve."""
        return curve_table(self.rows)
