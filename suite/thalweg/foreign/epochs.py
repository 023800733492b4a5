"""Epochs that a log counts anew after a second call of its training."""

from __future__ import annotations

import pandas as pd


def going_on(epochs: pd.Series) -> pd.Series:
    """Epochs that are done, from 1 up. A count that begins again goes on from the epochs before.

    A count that falls back to a later epoch than its first one stays, since the rows are those of a resume.

    >>> going_on(pd.Series([0.0, 1.0, 2.0, 0.0, 1.0])).tolist(), going_on(pd.Series([1.0, 2.0, 2.0])).tolist()
    ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 2.0])
    """
    first = epochs.iloc[0]
    again = (epochs == first) & (epochs.diff() <= 0)
    done = epochs - first + 1
    found: pd.Series = done + done.shift(fill_value=0).where(again, 0).cumsum()
    return found
