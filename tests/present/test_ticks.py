"""Log axes have the ticks that a person would choose."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from thalweg.contracts import Metric
from thalweg.present.charts.axes import TICKS, log_ticks, value_axis


def test_ticks_are_powers_of_ten_or_one_two_and_five() -> None:
    assert log_ticks([0.009, 500.0]) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert log_ticks([0.06, 0.8]) == [0.1, 0.2, 0.5]
    assert log_ticks([1e-12, 1e3]) == [1e-12, 1e-9, 1e-6, 1e-3, 1.0, 1e3]
    assert log_ticks([0.0, math.inf, math.nan, -1.0]) == []


@given(st.floats(1e-200, 1e200), st.floats(1e-200, 1e200))
def test_ticks_lie_between_the_ends_and_are_not_too_many(one: float, other: float) -> None:
    ticks = log_ticks([one, other])
    assert all(min(one, other) <= tick <= max(one, other) for tick in ticks)
    assert len(ticks) <= 3 * TICKS
    assert ticks == sorted(ticks)


def test_only_a_log_axis_has_them() -> None:
    assert "values" not in value_axis(Metric("loss", "lower", "linear"), [0.1, 10.0]).to_dict()
    assert value_axis(Metric("loss", "lower", "log"), [0.1, 10.0]).to_dict()["values"] == [0.1, 1.0, 10.0]
