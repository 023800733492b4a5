"""Margins of fractions, and how they are given."""

from __future__ import annotations

import math

import pytest

from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.scoring.margins import Margins, parse_margins

ACCURACY = Metric("accuracy", "higher", unit="%")
ERROR = Metric("error_rate", "lower", unit="%")


@pytest.mark.parametrize(("baseline", "examples", "margin"), [
    (0.90, None, 0.01),  # a tenth is wrong: one point
    (0.999, None, 0.0005),  # half the error
    (0.999, 10_000, 0.0005),
    (0.999, 360, 2 / 360),  # but never less than two examples
    (1.0, 10_000, 2 / 10_000),
    (1.0, None, 0.0),
])  # fmt: skip
def test_a_small_error_has_a_small_margin(baseline: float, examples: int | None, margin: float) -> None:
    assert Margins().of_fraction(ACCURACY, baseline, examples) == pytest.approx(margin)
    assert Margins().of_fraction(ERROR, 1 - baseline, examples) == pytest.approx(margin)


def test_margins_that_are_given_count_as_they_are() -> None:
    assert parse_margins([]) == Margins()
    assert parse_margins(["2pp"]).of_fraction(ACCURACY, 0.999) == 0.02
    assert parse_margins(["2pp", "50%error"]).of_fraction(ACCURACY, 0.999) == pytest.approx(0.0005)
    assert parse_margins(["25% error"]).of_fraction(ACCURACY, 0.6) == pytest.approx(0.1)
    assert parse_margins([" 20 % "]) == Margins(relative=0.2)
    assert math.isinf(parse_margins(["1pp"]).error)


@pytest.mark.parametrize("text", ["3", "pp", "-1pp", "1 point", "10%%"])
def test_other_texts_are_mistakes(text: str) -> None:
    with pytest.raises(UserError, match="give percentage points of accuracies, as 1pp"):
        parse_margins([text])
