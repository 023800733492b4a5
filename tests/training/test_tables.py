"""Tables from what probes return at each measurement."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from thalweg import Column, Probe
from thalweg.training.tables import checked, joined


class Two(Probe):
    name, summary = "two", "two columns"
    columns = (Column("step"), Column("value"))

    def measure(self, context: Any) -> Any:
        raise AssertionError

    def chart(self, table: pd.DataFrame) -> Any:
        raise AssertionError


def test_columns_and_frames_give_the_same_table() -> None:
    columns = [{"step": 0, "value": [1.0, 2.0]}, {"step": 1, "value": [3.0]}, {"step": 2, "value": 4.0}]
    frames = [
        pd.DataFrame({"step": [0, 0], "value": [1.0, 2.0]}),
        pd.DataFrame({"step": [1], "value": [3.0]}),
        pd.DataFrame({"step": [2], "value": [4.0]}),
    ]
    expected = pd.DataFrame({"step": [0, 0, 1, 2], "value": [1.0, 2.0, 3.0, 4.0]})
    pd.testing.assert_frame_equal(joined(Two(), columns), expected)
    pd.testing.assert_frame_equal(joined(Two(), frames), expected)
    pd.testing.assert_frame_equal(joined(Two(), [columns[0], frames[1], frames[2]]), expected)


def test_nothing_measured_is_a_table_without_rows() -> None:
    assert list(joined(Two(), []).columns) == ["step", "value"]
    assert len(joined(Two(), [{"step": 1, "value": []}])) == 0


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (None, "returned NoneType and no DataFrame"),
        ([1, 2], "returned list and no DataFrame"),
        ({"value": 1.0, "step": 1}, "declares the columns step, value and returned value, step"),
        ({"step": 1}, "declares the columns step, value and returned step"),
    ],
)
def test_other_things_are_refused_at_once(part: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(Two(), part)


def test_columns_of_different_lengths_and_what_no_file_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="columns of different lengths: 1, 2"):
        joined(Two(), [{"step": [1], "value": [1.0, 2.0]}])
    with pytest.raises(pa.ArrowInvalid, match="Could not convert"):
        joined(Two(), [{"step": [1, 1, 1], "value": [1.0, "two", b"three"]}])
