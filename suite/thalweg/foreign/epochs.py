"""Epochs that a log counts anew after a second call of its training."""

from __future__ import annotations

import pandas as pd


def going_on(epochs: pd.Series, first: int) -> pd.Series:
    """Epochs that are done. A count that begins again goes on from the epochs before.

    A count that falls back to a later epoch stays, since the rows are those of a resume.

    Args:
        epochs: the counts, in the order of writing.
        first: the count of a training's first epoch, 0 or 1.

    >>> going_on(pd.Series([0.0, 1.0, 2.0, 0.0, 1.0]), 0).tolist(), going_on(pd.Series([5.0, 6.0, 6.0]), 0).tolist()
    ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 7.0])
    """
    again = (epochs == first) & (epochs.diff() <= 0)
    done = epochs - first + 1
    found: pd.Series = done + done.shift(fill_value=0).where(again, 0).cumsum()
    return found
