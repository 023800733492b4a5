"""Collects the rows of a run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from thalweg.limits import ROWS


class Rows:
    """Rows of ``step, key, value`` and costs, in the order of writing."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._columns: dict[str, list[Any]] = {"step": [], "key": [], "value": []}
        self._costs: dict[str, list[Any]] = {}

    def add(self, step: float, key: str, value: float, **costs: float) -> None:
        """Add a row; ``costs`` are columns such as ``epoch`` and ``seconds``.

        Raises:
            TooMuch: there are more rows than the limit.
        """
        number = len(self._columns["step"])
        if number >= ROWS.value:
            raise ROWS.reached(self._where)
        for name, one in (("step", step), ("key", key), ("value", value)):
            self._columns[name].append(one)
        for name, cost in costs.items():
            column = self._costs.setdefault(name, [])
            column += [float("nan")] * (number - len(column))
            column.append(cost)

    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        number = len(self._columns["step"])
        costs = {name: column + [float("nan")] * (number - len(column)) for name, column in self._costs.items()}
        table = pd.DataFrame({**self._columns, **costs})
        numbers = [name for name in table.columns if name != "key"]
        return table.astype(dict.fromkeys(numbers, "float64"))
