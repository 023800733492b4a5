"""The values of one quantity of a run, by steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from thalweg.contracts.importer import COSTS
from thalweg.foreign.tables import codes_of

Numbers = npt.NDArray[np.float64]


@dataclass
class Series:
    """One quantity. Steps rise, and each occurs once."""

    steps: Numbers
    numbers: Numbers
    costs: Mapping[str, Numbers]
    """Further columns, of COSTS."""
    repeated: int
    """Rows that a later row of the same step replaced."""

    @property
    def last(self) -> float:
        """The value at the last step."""
        return float(self.numbers[-1])


def series_of(rows: pd.DataFrame) -> Iterator[tuple[str, Series]]:
    """Each key of a run's rows with its series; of two rows of one step the later one counts."""
    codes, keys = codes_of(rows["key"])
    columns = {name: rows[name].to_numpy(np.float64) for name in ("step", "value", *COSTS) if name in rows}
    present = np.flatnonzero(np.bincount(codes, minlength=len(keys)))
    for code in present.tolist():
        part = slice(None) if len(present) == 1 else codes == code
        yield keys[code], _rising({name: column[part] for name, column in columns.items()})


def _rising(columns: dict[str, Numbers]) -> Series:
    steps = columns["step"]
    number = len(steps)
    if not (steps[1:] > steps[:-1]).all():
        _, from_the_end = np.unique(steps[::-1], return_index=True)
        kept = number - 1 - from_the_end
        columns = {name: column[kept] for name, column in columns.items()}
    steps, numbers = columns.pop("step"), columns.pop("value")
    return Series(steps, numbers, columns, number - len(steps))
