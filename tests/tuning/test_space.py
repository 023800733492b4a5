from __future__ import annotations

import math

import numpy as np
import pytest

from thalweg.benchmark_file import TuningSpec
from thalweg.contracts.option import Hyperparameter, Search
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.tuning.space import HIGH, LOW, Space, space_of, unit_points

TUNED = ["sgd", "momentum", "adam", "adamw", "rmsprop", "adagrad", "lbfgs", "kfac", "muon"]


def space(registry: Registry, name: str, *names: str, **given: float) -> Space:
    spec = TuningSpec(budgets=(4, 8), decades=3.0)
    return space_of(spec, registry.optimizer(name).options, names or ("lr",), given, "here")


@pytest.mark.parametrize("method", ["halton", "sobol", "random"])
def test_a_smaller_budget_has_the_first_points_of_a_larger_one(method: str) -> None:
    for dimensions in (1, 2):
        whole = unit_points(method, 16, dimensions)
        assert whole.shape == (16, dimensions)
        assert ((whole >= 0) & (whole < 1)).all()
        for count in (1, 3, 8):
            np.testing.assert_array_equal(unit_points(method, count, dimensions), whole[:count])


@pytest.mark.parametrize("method", ["halton", "sobol"])
def test_quasi_random_points_leave_no_wide_gap(method: str) -> None:
    points = np.sort(unit_points(method, 8, 1)[:, 0])
    assert np.diff(points).max() < 0.25
    assert points[0] < 0.25 < 0.75 < points[-1]


def test_a_grid_has_equal_steps_and_both_ends() -> None:
    np.testing.assert_allclose(unit_points("grid", 4, 1)[:, 0], [0, 1 / 3, 2 / 3, 1])
    assert {tuple(point) for point in unit_points("grid", 9, 2)} == {(a, b) for a in (0, 0.5, 1) for b in (0, 0.5, 1)}


def test_every_optimizer_searches_as_many_decades_at_the_same_places(registry: Registry) -> None:
    places = []
    for name in TUNED:
        found = space(registry, name)
        (lr,) = found.ranges
        assert math.log10(lr.high / lr.low) == pytest.approx(3.0)
        values = np.array([setting["lr"] for setting in found.settings(8)])
        places.append(np.log10(values / lr.low) / 3.0)
        # one decade to each side has a third of the points of three
        below, above = (np.array([dict(p.setting)["lr"] for p in found.beyond(8, [end])]) for end in (LOW, HIGH))
        assert len(below) == len(above) == 3
        assert lr.low / 10.1 < below.min() < below.max() < lr.low * 1.01
        assert lr.high * 0.99 < above.min() < above.max() < lr.high * 10.1
    assert np.ptp(places, axis=0).max() < 0.003  # three digits


def test_a_value_that_is_given_is_the_middle(registry: Registry) -> None:
    (lr,) = space(registry, "adam", lr=0.02).ranges
    assert math.sqrt(lr.low * lr.high) == pytest.approx(0.02)


def test_a_range_is_moved_and_not_narrowed_where_values_are_not_allowed(registry: Registry) -> None:
    option = next(option for option in registry.optimizer("adam").options if option.name == "lr")
    limited = type(option)("lr", 0.5, allowed="(0, 1]", search=type(option.search)(0.1, 1.0))  # type: ignore[misc]
    (lr,) = space_of(TuningSpec(), [limited], ("lr",), {}, "here").ranges
    assert lr.high == pytest.approx(1.0)
    assert lr.low == pytest.approx(1e-3)


def test_several_hyperparameters_are_points_of_a_box_and_not_extended(registry: Registry) -> None:
    found = space(registry, "kfac", "lr", "damping")
    assert [list(setting) for setting in found.settings(2)] == [["lr", "damping"]] * 2
    assert found.beyond(8, [LOW, HIGH]) == []


def test_what_cannot_be_searched_is_told(registry: Registry) -> None:
    with pytest.raises(UserError, match=r"here: no hyperparameter with a range to search 'lr'.*tuning.hyperparameters"):
        space(registry, "newton")
    with pytest.raises(UserError, match="no hyperparameter with a range to search 'beta1'"):
        space(registry, "adam", "beta1")
    with pytest.raises(UserError, match="is no middle of a range"):
        space(registry, "adam", lr=0.0)
    options = registry.optimizer("kfac").options
    with pytest.raises(UserError, match="8 points are no grid of 2 hyperparameters"):
        space_of(TuningSpec(method="grid", budgets=(8,)), options, ("lr", "damping"), {}, "here")


def test_a_tuning_table_is_checked() -> None:
    with pytest.raises(ValueError, match="the smallest first"):
        TuningSpec(budgets=(8, 4))
    with pytest.raises(ValueError, match="not among those of a larger one"):
        TuningSpec(method="grid", budgets=(4, 8))


@pytest.mark.parametrize(("allowed", "most"), [("(0, 0.02]", 0.02), ("(0, 0.02)", 0.02), ("[0.001, 0.1]", 0.1)])
@pytest.mark.parametrize("method", ["grid", "halton"])
def test_no_setting_leaves_the_allowed_values(allowed: str, most: float, method: str) -> None:
    """A range that was extended past its bound once ended the whole benchmark with an error."""
    option = Hyperparameter("lr", 0.005, allowed, "a rate", Search(1e-3, 0.02))
    spec = TuningSpec(method=method, budgets=(6,))  # type: ignore[arg-type]
    found = space_of(spec, [option], ("lr",), {}, "here")
    tried = [setting["lr"] for setting in found.settings(6)]
    tried += [dict(point.setting)["lr"] for point in found.beyond(6, [LOW, HIGH])]
    for lr in tried:
        option.check(lr, "here")
    assert max(tried) <= most
    (inside,) = found.ranges
    assert found.beyond(6, [HIGH]) == [] or inside.high < most
