"""Values outside a hyperparameter's range are refused before anything trains, with its name and the range."""

from __future__ import annotations

import math
import re

import pytest

from thalweg.contracts import Hyperparameter, Optimizer
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.registry import load_registry

OPTIMIZERS: list[Optimizer] = [entry.component for entry in load_registry().entries("optimizers")]  # type: ignore[misc]
INTERVALS = [
    (optimizer, option)
    for optimizer in OPTIMIZERS
    for option in optimizer.options
    if option.kind in ("float", "int") and isinstance(option.allowed, str)
]


def outside(option: Hyperparameter) -> list[float]:
    """Numbers just outside of either end, of the option's kind."""
    assert isinstance(option.allowed, str)
    left, low, high, right = re.fullmatch(r"([\[(])\s*(.+),\s*(.+?)\s*([\])])", option.allowed).groups()  # type: ignore[union-attr]
    found = []
    for end, included, away in ((float(low), left == "[", -1), (float(high), right == "]", 1)):
        if math.isfinite(end):
            found += [end + away] if included else [end, end + away]
    return [int(value) if option.kind == "int" else value for value in found]


@pytest.mark.parametrize(("optimizer", "option"), INTERVALS, ids=lambda it: it.name)
def test_a_value_outside_its_range_is_refused_naming_both(optimizer: Optimizer, option: Hyperparameter) -> None:
    assert outside(option)
    for value in [*outside(option), math.nan, math.inf]:
        with pytest.raises(UserError) as refused:
            resolve(optimizer.options, {option.name: value}, optimizer.name)
        message = str(refused.value)
        assert f"{optimizer.name}: {option.name} = {value!r}" in message
        if math.isfinite(value):
            assert f"is outside its allowed range {option.allowed}" in message


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda it: it.name)
def test_what_must_be_positive_or_below_one_is_declared_so(optimizer: Optimizer) -> None:
    """A negative learning rate, a decay rate of 1 and a negative eps are refused wherever there is such a thing."""
    for option in optimizer.options:
        kind = re.sub(r"^.*_|\d$", "", option.name)
        wrong = {"lr": -1.0, "beta": 1.0, "momentum": 1.0, "eps": -1.0, "decay": -1.0, "damping": -1.0}.get(kind)
        if wrong is not None and option.kind == "float":
            with pytest.raises(UserError, match="outside its allowed range"):
                resolve(optimizer.options, {option.name: wrong}, optimizer.name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda it: it.name)
def test_says_what_a_step_costs_and_where_it_is_from(optimizer: Optimizer) -> None:
    assert "gradient evaluation" in optimizer.cost
    assert optimizer.source
    assert optimizer.equation
    assert optimizer.description
