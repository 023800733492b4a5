"""The result of training a trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from thalweg.contracts.probe import SavedWeights
from thalweg.failure import Failure


@dataclass
class Trained:
    """How a training ended, with its curve, its measurements and the kept weights."""

    status: Literal["done", "diverged", "failed"]
    reason: str
    failure: Failure | None
    curve: pd.DataFrame
    summary: dict[str, Any]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """The table of each probe, by the key of its request."""
    probe_failures: dict[str, Failure] = field(default_factory=dict)
    probe_costs: dict[str, dict[str, float]] = field(default_factory=dict)
    weights: SavedWeights = field(default_factory=SavedWeights)
    hook_failures: dict[str, Failure] = field(default_factory=dict)
    """The errors of plugins' hooks, by ``hook NAME``."""
