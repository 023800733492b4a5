"""An importer reads the files of another program as runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thalweg.contracts.component import Component

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("step", "key", "value")
"""The columns that every table of a run has."""

COSTS = ("epoch", "examples", "gradient_evaluations", "curvature_products", "factor_inversions", "work", "seconds")
"""Further columns that a table of a run may have, in the units of a trial's curve."""


@dataclass(frozen=True)
class ForeignRun:
    """One training as another program logged it."""

    name: str
    """What tells the run apart in its source."""
    source: Path
    """The file or folder of the run. ``--paths`` reads parameters from its end."""
    rows: pd.DataFrame
    """COLUMNS, and perhaps some of COSTS: one number a row, in the order of writing. ``key`` is the program's own name
    of the quantity. ``step`` counts the optimization steps before the value was measured. Of two rows of one key and
    step the later one counts. ``nan`` means that the training gave nan; what was not measured has no row."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters, and whatever else the source says of the run: numbers, texts, truth values."""
    status: Literal["done", "diverged", "failed", ""] = ""
    """How the run ended, as the source says; empty where the source does not say it."""
    reason: str = ""
    counts: Literal["steps", "epochs"] = "steps"
    """What ``step`` counts. ``--steps-per-epoch`` turns epochs into steps."""


@dataclass
class Told:
    """What files say of metrics, as exports of thalweg do. What the user says goes before."""

    better: dict[str, str] = field(default_factory=dict)
    """``higher`` or ``lower`` by metric."""
    ranks: dict[str, str] = field(default_factory=dict)
    """The metric that ranks, by workload."""
    targets: dict[str, float] = field(default_factory=dict)
    """The value of that metric to reach, by workload."""


@dataclass
class ImportContext:
    """What the user asks for besides the files, and what the importer tells the user."""

    step: str = ""
    """The column that counts steps, where the user names one with ``--map step=COLUMN``."""
    notes: Counter[str] = field(default_factory=Counter)
    """Sentences, with the number of times they were told."""
    told: Told = field(default_factory=Told)
    """What the files say of metrics."""

    def note(self, text: str) -> None:
        """Tell the user what must be known to trust the numbers. Equal sentences are printed once."""
        self.notes[text] += 1


class Importer(Component, ABC):
    """Reads the files of one format.

    An importer takes files as data: it executes nothing in them, and needs no network. ``thalweg.foreign`` reads
    tables, JSON, YAML, lines and SQLite with limits of size.
    """

    kind: ClassVar[str] = "importer"
    packages: ClassVar[tuple[str, ...]] = ()
    """The distributions that it needs besides those of thalweg, such as ``tensorboard``."""
    install: ClassVar[str] = ""
    """What pip installs to have them, such as ``thalweg[import]``; empty: the packages."""
    general: ClassVar[bool] = False
    """Whether it reads what any program writes: it is asked only where no other importer recognises a file."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a file is one of this format, by its name, its neighbours and its first bytes. Must not raise."""

    @abstractmethod
    def read(self, files: Sequence[Path], context: ImportContext) -> Iterable[ForeignRun]:
        """The runs of files.

        Args:
            files: files that it recognises, or that the user gives with ``--format``, sorted.
            context: what the user asks for; takes notes.

        Raises:
            UserError: a file is damaged or of another format. The message names the file.
        """

    def example(self, folder: Path) -> None:
        """Write a small example of the format into an empty folder, for the conformance kit."""
