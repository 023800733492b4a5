"""Settings that differ between trials."""

from __future__ import annotations

import math

from thalweg.present.settings import differences


def test_values_are_compared_and_not_their_texts() -> None:
    """Six digits of both rates are equal."""
    found = differences([("", {"lr": 0.12345671}, {"lr": 0.12345672})])
    (row,) = found.rows
    assert (row.baseline, row.candidate) == ("0.12345671", "0.12345672")
    assert found.equal == 0


def test_equal_values_of_other_types_are_equal_and_true_is_not_one() -> None:
    baseline = {"a": 1, "b": math.nan, "c": [1, 2], "d": True, "e": None}
    candidate = {"a": 1.0, "b": math.nan, "c": [1, 2], "d": 1}
    found = differences([("", baseline, candidate)])
    assert [row.setting for row in found.rows] == ["d"]
    assert found.equal == 4
    assert found.sentence == "4 settings are equal."


def test_pairs_with_the_same_values_share_a_row() -> None:
    pairs = [
        ("one", {"lr": 0.1, "torch": "1"}, {"lr": 0.2, "torch": "2"}),
        ("two", {"lr": 0.1, "torch": "1"}, {"lr": 0.3, "torch": "2"}),
        ("three", {"lr": 0.1, "torch": "1"}, {"lr": 0.2, "torch": "2"}),
    ]
    found = differences(pairs)
    assert [(row.setting, row.candidate, row.pairs) for row in found.rows] == [
        ("lr", "0.2", ("one", "three")),
        ("lr", "0.3", ("two",)),
        ("torch", "2", ("one", "two", "three")),
    ]
    frame = found.table.frame()
    assert list(frame["where"]) == ["one; three", "two", "everywhere"]


def test_a_setting_of_one_side_alone_is_a_dash() -> None:
    found = differences([("", {"momentum": 0.9}, {})])
    assert found.rows[0].candidate == "–"
    assert "A dash stands for" in found.sentence
