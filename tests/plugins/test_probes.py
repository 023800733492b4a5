from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.training.loop import Trained, Training
from thalweg.trial import ComponentRef, ProbeRequest, Trial
from thalweg_plugins.probes.surface import _projected


def ref(name: str, **options: Any) -> ComponentRef:
    return ComponentRef(name=name, options=options, provider="test")


DIGITS = Trial(
    problem=ref("digits"),
    architecture=ref("mlp", widths=[8], norm="batch"),
    optimizer=ref("adam"),
    budget=Budget(epochs=3),
    batch_size=128,
    validation_fraction=0.2,
    seed=0,
)
BOWL = Trial(
    problem=ref("quadratic", dim=5),
    architecture=ref("point"),
    optimizer=ref("sgd", lr=0.005),
    budget=Budget(steps=30),
    evaluate_every=Interval(steps=5),
    dtype="float64",
    seed=0,
)


def measure(registry: Registry, trial: Trial, name: str, **given: Any) -> tuple[pd.DataFrame, Trained]:
    probe = registry.probe(name)
    active = ActiveProbe(ProbeRequest(label=name, probe=ref(name, **given)), probe, resolve(probe.options, given, name))
    trained = Training(assemble(trial, registry), [active], lambda *_: None).run()
    assert trained.status == "done", trained.reason
    assert not trained.probe_failures, trained.probe_failures
    (table,) = trained.tables.values()
    return table, trained


def final_loss(trained: Trained) -> float:
    rows = trained.curve[(trained.curve["split"] == "train") & (trained.curve["metric"] == "loss")]
    return float(rows["value"].iloc[-1])


@pytest.mark.parametrize("directions", ["random", "path"])
@pytest.mark.parametrize("trial", [DIGITS, BOWL], ids=["digits", "quadratic"])
def test_the_surfaces_centre_is_the_trained_loss(registry: Registry, trial: Trial, directions: str) -> None:
    table, trained = measure(registry, trial, "surface", resolution=5, directions=directions)
    grid = table[table["kind"] == "grid"]
    assert len(grid) == 25
    centre = grid[(grid["x"] == 0) & (grid["y"] == 0)]
    assert len(centre) == 1
    assert centre["loss"].iloc[0] == pytest.approx(final_loss(trained), abs=1e-6)
    np.testing.assert_array_equal(np.unique(grid["x"]), -np.unique(grid["x"])[::-1])
    end = table[table["kind"] == "path"].iloc[-1]
    assert abs(end["x"]) + abs(end["y"]) < 1e-12
    assert end["step"] == trained.summary["step"]


def test_the_surface_of_a_quadratic_is_the_known_function(registry: Registry) -> None:
    """On any plane a quadratic is a quadratic in x and y, so six coefficients fit it exactly."""
    table, trained = measure(registry, BOWL, "surface", resolution=9, directions="path")
    grid = table[table["kind"] == "grid"]
    x, y = grid["x"].to_numpy(), grid["y"].to_numpy()
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    solution, *_ = np.linalg.lstsq(terms, grid["loss"].to_numpy(), rcond=None)
    assert np.abs(terms @ solution - grid["loss"]).max() < 1e-9 * grid["loss"].max()
    # the curvatures lie between the smallest and the largest eigenvalue, 1 and 100, because d1 and d2 are orthonormal
    curvature = np.linalg.eigvalsh([[2 * solution[3], solution[4]], [solution[4], 2 * solution[5]]])
    assert 1 - 1e-9 <= curvature[0] <= curvature[1] <= 100 + 1e-9
    path = table[table["kind"] == "path"]
    assert path["step"].tolist() == [0, 5, 10, 15, 20, 25, 30]
    curve = trained.curve.sort_values("step")["value"]
    np.testing.assert_allclose(path["loss"], curve, rtol=1e-12)


def test_projection_is_that_of_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    offsets, d1, d2 = (torch.randn(shape, generator=generator).double() for shape in ((4, 50), (50,), (50,)))
    coordinates, inside = _projected(offsets, d1, d2)
    expected, *_ = np.linalg.lstsq(torch.stack([d1, d2], 1).numpy(), offsets.T.numpy(), rcond=None)
    np.testing.assert_allclose(coordinates.numpy(), expected.T, rtol=1e-10)
    assert ((inside > 0) & (inside < 1)).all()
    assert _projected(torch.stack([2 * d1 - d2]), d1, d2)[1].item() == pytest.approx(1)


def test_a_path_plane_holds_more_of_the_path_than_a_random_one(registry: Registry) -> None:
    along, _ = measure(registry, DIGITS, "surface", resolution=3, directions="path")
    random, _ = measure(registry, DIGITS, "surface", resolution=3)
    shares = [table.loc[table["step"] == 0, "in_plane"].iloc[0] for table in (along, random)]
    assert shares[0] > 0.95
    assert shares[1] < 0.5


def test_an_even_resolution_is_refused_with_the_reason(registry: Registry) -> None:
    probe = registry.probe("surface")
    reason = probe.misfit(resolve(probe.options, {"resolution": 4}, "x"))
    assert reason is not None
    assert "resolution = 4 is even" in reason
    assert probe.misfit(resolve(probe.options, {}, "x")) is None


def test_the_line_starts_and_ends_at_the_losses_of_training(registry: Registry) -> None:
    table, trained = measure(registry, BOWL, "line", points=7)
    curve = trained.curve.sort_values("step")["value"]
    assert table["t"].tolist() == pytest.approx(np.linspace(0, 1, 7).tolist())
    assert table["value"].iloc[0] == pytest.approx(curve.iloc[0], rel=1e-14)
    assert table["value"].iloc[-1] == pytest.approx(curve.iloc[-1], rel=1e-14)
    # a quadratic on a line is a parabola: third differences vanish
    assert np.abs(np.diff(table["value"], 3)).max() < 1e-10 * curve.iloc[0]
    metrics = measure(registry, DIGITS, "line", points=3)[0]["metric"].unique().tolist()
    assert metrics == ["accuracy", "loss"]


def test_gradient_norms_are_those_of_each_layer(registry: Registry) -> None:
    table, _ = measure(registry, DIGITS, "gradient-flow")
    table = table[table["quantity"] == "gradient norm"]
    assert table["epoch"].unique().tolist() == [0, 1, 2, 3]
    assert table["depth"].unique().tolist() == [1, 2]
    assembly = assemble(DIGITS, registry)
    batch = assembly.problem.batch("train", 0, assembly.draw)
    loss = torch.nn.functional.cross_entropy(assembly.module(batch.inputs), batch.targets)
    loss.backward()
    expected = [float(p.grad.norm()) for p in assembly.module.parameters() if p.dim() > 1 and p.grad is not None]
    assert table.loc[table["step"] == 0, "value"].tolist() == pytest.approx(expected, rel=1e-5)
