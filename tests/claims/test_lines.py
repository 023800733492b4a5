"""Claims I1 to I3, J2 and J3 on lines with known shapes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from made_trials import MadeContext, MadeTrial, value_of
from thalweg_plugins.claims.directions.roughness import SHARE, FirstLayer, GradientDirection
from thalweg_plugins.claims.line.experiments import BASE, LEVELS, NETWORKS, SGD
from thalweg_plugins.claims.line.shape import Convex, Monotone, OtherLines

T = np.linspace(0, 1, 101)


def _line(losses: np.ndarray) -> pd.DataFrame:  # type: ignore[type-arg]
    parts = [pd.DataFrame({"t": T, "metric": name, "value": losses}) for name in ("loss", "accuracy")]
    return pd.concat(parts)


def test_a_parabola_is_monotone_and_convex() -> None:
    trial = MadeTrial(BASE, SGD, tables={"line": _line((1 - T) ** 2)})
    table = Monotone().measure(MadeContext([trial]), 0)
    assert value_of(table, "monotone fraction") == 1.0
    assert value_of(table, "bump") == 0.0
    convex = Convex().measure(MadeContext([trial]), 0)
    assert value_of(convex, "share of second differences below -1e-4 of the drop") == 0.0


def test_a_cosine_bends_down_in_its_first_half() -> None:
    """cos(pi t) from 1 to -1: second differences -h^2 pi^2 cos(pi t) are below -2e-4 for cos(pi t) > 0.2026."""
    trial = MadeTrial(BASE, SGD, tables={"line": _line(np.cos(np.pi * T))})
    share = value_of(Convex().measure(MadeContext([trial]), 0), "share of second differences below -1e-4 of the drop")
    assert share == pytest.approx(math.acos(0.2026) / math.pi, abs=0.01)


def test_each_level_of_i3_reads_its_own_line() -> None:
    """The line of level k rises by k% of the drop in its middle."""
    trials, bumps = [], {}
    places = {level: (BASE, label) for level, label in LEVELS.items()} | {
        level: (workload, SGD) for level, workload in NETWORKS.items()
    }
    for number, (level, (workload, label)) in enumerate(places.items()):
        losses = 1 - T
        losses[50:60] = losses[49] + 0.01 * number
        bumps[level] = 0.01 * number
        trials.append(MadeTrial(workload, label, tables={"line": _line(losses)}))
    table = OtherLines().measure(MadeContext(trials), 0)
    for level, bump in bumps.items():
        assert value_of(table, "bump", setting=level) == pytest.approx(bump)


def test_a_lost_trial_has_no_line() -> None:
    table = Monotone().measure(MadeContext([MadeTrial(BASE, SGD, lost="diverged: nan")]), 0)
    assert math.isnan(value_of(table, "bump"))


def _directions() -> pd.DataFrame:
    """The convex t^2 everywhere, but sin(5 pi t) in the first layer and along the gradient, at the start."""
    t = np.linspace(-0.5, 0.5, 101)
    rows = []
    for step in (0, 100):
        for kind, depth in (("random", 0), ("total gradient", 0), ("layer, random", 1), ("layer, random", 3)):
            wavy = step == 0 and (kind == "total gradient" or depth == 1)
            for draw in range(1 if kind == "total gradient" else 10):
                losses = np.sin(5 * np.pi * t) if wavy else t**2
                rows.append(
                    pd.DataFrame(
                        {"step": step, "direction": kind, "depth": depth, "draw": draw, "t": t, "loss": losses}
                    )
                )
    return pd.concat(rows)


def test_j2_and_j3_take_the_mean_share_over_draws_of_each_moment() -> None:
    context = MadeContext([MadeTrial(BASE, SGD, tables={"directions": _directions()})])
    table = FirstLayer().measure(context, 0)
    # the sine bends down on half of its waves, where it is above zero
    assert value_of(table, SHARE, "first layer, initialization") == pytest.approx(0.5, abs=0.03)
    assert value_of(table, SHARE, "first layer, trained") == 0.0
    assert value_of(table, SHARE, "last layer, initialization") == 0.0
    table = GradientDirection().measure(context, 0)
    assert value_of(table, SHARE, "gradient, initialization") == pytest.approx(0.5, abs=0.03)
    assert value_of(table, SHARE, "random, initialization") == 0.0
