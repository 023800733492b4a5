from __future__ import annotations

from typing import Any

import pytest

from thalweg.contracts import Hyperparameter, Option, Search
from thalweg.contracts.option import resolve, without_defaults
from thalweg.errors import UserError

LR = Hyperparameter("lr", 0.1, "(0, inf)")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        (LR, 1, 1.0),
        (LR, 0.5, 0.5),
        (Option("depth", 3, "[1, inf)"), 4, 4),
        (Option("flag", False), True, True),
        (Option("norm", "none", ("none", "batch")), "batch", "batch"),
        (Option("widths", (8, 8), "[1, inf)"), [4, 2], (4, 2)),
    ],
)
def test_a_valid_value_takes_the_options_kind(option: Option, value: Any, expected: Any) -> None:
    checked = option.check(value, "here")
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        (LR, -0.1, r"here: lr = -0.1 is outside its allowed range \(0, inf\)"),
        (LR, 0, r"outside its allowed range \(0, inf\)"),
        (LR, float("nan"), "outside its allowed range"),
        (LR, float("inf"), "outside its allowed range"),
        (LR, "fast", "lr = 'fast' is not a number"),
        (LR, True, "lr = True is not a number"),
        (Option("depth", 3), 2.5, "depth = 2.5 is not a whole number"),
        (Option("flag", False), 1, "flag = 1 is not true or false"),
        (Option("norm", "none", ("none", "batch")), "bacth", "did you mean 'batch'"),
        (Option("widths", (8, 8), "[1, inf)"), [4, 0], r"widths = 0 is outside its allowed range \[1, inf\)"),
        (Option("widths", (8, 8)), [], "not a list of numbers"),
        (Option("beta", 0.9, "[0, 1)"), 1.0, r"outside its allowed range \[0, 1\)"),
    ],
)
def test_an_invalid_value_is_refused_with_the_reason(option: Option, value: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        option.check(value, "here")


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UserError, match="here: no setting 'Ir'; did you mean 'lr'"):
        resolve([LR], {"Ir": 0.1}, "here")


def test_defaults_are_filled_in_and_left_out_again() -> None:
    options = [LR, Option("widths", (8, 8))]
    resolved = resolve(options, {"widths": [8, 4]}, "here")
    assert resolved == {"lr": 0.1, "widths": (8, 4)}
    assert without_defaults(options, resolved) == {"widths": (8, 4)}
    assert without_defaults(options, resolve(options, {"lr": 0.1, "widths": [8, 8]}, "here")) == {}


@pytest.mark.parametrize(
    "option",
    [
        Option("lr", -1.0, "(0, inf)"),
        Option("lr", 1.0, "0..1"),
        Option("lr", None),
        Option("norm", "group", ("none", "batch")),
        Hyperparameter("lr", 0.1, "(0, inf)", search=Search(0.0, 1.0)),
        Hyperparameter("lr", 0.1, "(0, inf)", search=Search(1.0, 0.1)),
        Hyperparameter("beta", 0.9, "[0, 1)", search=Search(0.5, 1.0, "linear")),
    ],
)
def test_a_wrong_declaration_is_a_violation(option: Option) -> None:
    assert option.contract_violations()
