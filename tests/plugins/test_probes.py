from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from probing import context
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import SavedWeights
from thalweg.registry import Registry
from thalweg.testing.small import network, problem
from thalweg.training.alone import Training
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.training.trained import Trained
from thalweg.trial import ComponentRef, ProbeRequest, Trial
from thalweg_plugins.probes.surface import _projected, _with_minima


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


def test_a_quadratics_surface_has_one_minimum(registry: Registry) -> None:
    table, _ = measure(registry, BOWL, "surface", resolution=9, directions="path")
    minima = table[table["persistence"].notna()]
    grid = table[table["kind"] == "grid"]
    assert minima.index.tolist() == [grid["loss"].idxmin()]
    assert minima["persistence"].tolist() == [np.inf]
    assert minima["gap"].isna().all()


def test_minima_of_each_plane_stand_in_its_grid_and_their_pictures_count_them(registry: Registry) -> None:
    """Two planes of an egg-crate, whose four minima of -2 + 3 have saddles of 3 between them."""
    t = np.arange(9) / 8
    wave = np.cos(4 * np.pi * t)
    wave[1::2] = 0
    losses = (wave[:, None] + wave + 3).ravel()
    x, y = (ticks.ravel() for ticks in np.meshgrid(t, t))
    plane = _with_minima(pd.DataFrame({"kind": "grid", "x": x, "y": y, "loss": losses}), 9)
    known = plane[plane["persistence"].notna()]
    assert known[["x", "y"]].to_numpy().tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert known["persistence"].tolist() == [np.inf, 2, 2, 2]
    assert known["gap"].tolist() == [2, 2, 2, 2]
    table = pd.concat([plane.assign(draw=draw, scale="linear") for draw in range(2)], ignore_index=True)
    views = registry.probe("surface").views()
    for view, rows in (("merge tree", {12, 2, 4}), ("persistence barcode", {4})):
        one: Any = views[view](table[table["draw"] == 0])
        document = one.to_dict()
        assert document["title"]["subtitle"] == [
            "4 minima; 4 deeper than 1% of the range",
            "mean gap from a minimum to its first saddle: 2",
        ]
        assert {len(data) for data in document["datasets"].values()} <= rows | {14}
        both: Any = views[view](table)
        assert len(both.to_dict()["concat"]) == 2


def test_the_surfaces_table_tells_how_it_was_computed(registry: Registry) -> None:
    auto, _ = measure(registry, DIGITS, "surface", resolution=5)
    plain, _ = measure(registry, DIGITS, "surface", resolution=5, method="plain")
    assert set(auto.loc[auto["kind"] == "grid", "method"]) == {"walk"}
    assert set(plain.loc[plain["kind"] == "grid", "method"]) == {"plain"}
    np.testing.assert_allclose(auto["loss"], plain["loss"], rtol=1e-5)


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
    coordinates, inside, residual = _projected(offsets, d1, d2)
    expected, *_ = np.linalg.lstsq(torch.stack([d1, d2], 1).numpy(), offsets.T.numpy(), rcond=None)
    np.testing.assert_allclose(coordinates.numpy(), expected.T, rtol=1e-10)
    assert ((inside > 0) & (inside < 1)).all()
    rest = offsets - coordinates @ torch.stack([d1, d2])
    np.testing.assert_allclose(residual.numpy(), rest.norm(dim=1).numpy(), rtol=1e-10)
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


@pytest.mark.parametrize("directions", ["random", "path", "hessian", "points"])
def test_every_plane_has_the_trained_weights_at_its_centre_and_is_a_quadratics(
    registry: Registry, directions: str
) -> None:
    table, trained = measure(registry, BOWL, "surface", resolution=7, directions=directions)
    grid = table[table["kind"] == "grid"]
    x, y = grid["x"].to_numpy(), grid["y"].to_numpy()
    centre = grid[(x == 0) & (y == 0)]["loss"].item()
    assert centre == pytest.approx(final_loss(trained), rel=1e-12)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    solution, *_ = np.linalg.lstsq(terms, grid["loss"].to_numpy(), rcond=None)
    assert np.abs(terms @ solution - grid["loss"]).max() < 1e-9 * grid["loss"].max()
    if directions == "hessian":
        # of the eigenvectors to the two largest eigenvalues, 100 and 100^(3/4)
        assert sorted([2 * solution[3], 2 * solution[5]]) == pytest.approx([100**0.75, 100], rel=1e-6)
        assert solution[4] == pytest.approx(0, abs=1e-6)
    if directions == "points":
        start = table[(table["kind"] == "path") & (table["step"] == 0)]
        assert start["in_plane"].item() == pytest.approx(1)
        assert start["residual"].item() == pytest.approx(0, abs=1e-9)
    if directions == "path":
        assert 0.5 < table["explained"].iloc[0] <= 1
    assert table["directions"].iloc[0].startswith(directions)


@pytest.mark.parametrize("normalization", ["filter", "layer", "none"])
def test_several_draws_are_several_planes_of_the_declared_normalization(registry: Registry, normalization: str) -> None:
    given = {"draws": 2, "normalization": normalization}
    table, trained = measure(registry, DIGITS, "surface", resolution=3, **given)
    grids = [part["loss"].to_numpy() for _, part in table[table["kind"] == "grid"].groupby("draw")]
    assert len(grids) == 2
    assert grids[0][4] == grids[1][4] == pytest.approx(final_loss(trained), abs=1e-6)
    assert not np.allclose(grids[0], grids[1])
    document = registry.probe("surface").chart(table).to_dict()
    assert len(document["concat"]) == 2


def test_a_surface_of_few_evaluations_is_near_the_whole_grid_and_tells_its_error(registry: Registry) -> None:
    whole, _ = measure(registry, DIGITS, "surface", resolution=21)
    few, _ = measure(registry, DIGITS, "surface", resolution=21, tolerance=0.02)
    exact = np.log(whole.loc[whole["kind"] == "grid", "loss"].to_numpy())
    found = np.log(few.loc[few["kind"] == "grid", "loss"].to_numpy())
    evaluated = few[few["kind"] == "evaluated"]
    assert 25 + 16 <= len(evaluated) <= 150
    assert few["error"].iloc[0] <= 0.02
    # the error at held-out points is no bound: an interpolant may be worse elsewhere
    assert np.abs(found - exact).max() <= 0.06 * np.ptp(exact)
    subtitle = registry.probe("surface").chart(few).to_dict()["title"]["subtitle"]
    assert f"{len(evaluated)} evaluations" in " ".join(subtitle)


def test_what_has_no_finite_value_is_marked_and_counted(registry: Registry) -> None:
    table, _ = measure(registry, DIGITS, "surface", resolution=5)
    table.loc[(table["kind"] == "grid") & (table["x"] == 1), "loss"] = np.inf
    document = registry.probe("surface").chart(table).to_dict()
    assert "5 points have no finite value" in " ".join(document["title"]["subtitle"])
    marks = [layer for layer in document["layer"] if layer["mark"].get("shape") == "cross"]
    (data,) = [document["datasets"][layer["data"]["name"]] for layer in marks]
    assert [row["x"] for row in data] == [1.0] * 5
    cells = registry.probe("surface").views()["heat map"](table).to_dict()  # type: ignore[attr-defined]
    grey = [layer for layer in cells["layer"] if layer["mark"].get("color") == "#bbbbbb"]
    assert len(cells["datasets"][grey[0]["data"]["name"]]) == 5


def test_settings_of_a_surface_that_do_not_count_are_refused(registry: Registry) -> None:
    probe = registry.probe("surface")
    for given, words in (
        ({"directions": "path", "draws": 2}, "draws = 2 is for random directions"),
        ({"directions": "hessian", "normalization": "layer"}, "normalization = 'layer' is for random directions"),
        ({"directions": "points", "extent": 2.0}, "finds its own"),
    ):
        reason = probe.misfit(resolve(probe.options, given, "x"))
        assert reason is not None
        assert words in reason


@pytest.mark.parametrize(("directions", "words"), [("hessian", "curvature|gradient"), ("path", "from step 20 on")])
def test_a_plane_of_what_is_not_finite_is_an_error_of_one_line(registry: Registry, directions: str, words: str) -> None:
    bowl = BOWL.model_copy(update={"seed": 1})
    probe = registry.probe("surface")
    assembly = assemble(bowl, registry)
    looking = context(registry, "surface", assembly.problem, assembly.module, resolution=3, directions=directions)
    (w,) = (parameter.detach() for parameter in assembly.module.parameters())
    final = {name: tensor.clone() for name, tensor in assembly.module.state_dict().items()}
    path = torch.stack([w * 2, w * 1.5, w])
    if directions == "path":
        path[1] = torch.nan
    else:
        next(iter(final.values())).fill_(torch.inf)
    looking.weights = SavedWeights(final, final, path, (10, 20, 30))
    with pytest.raises(ValueError, match=words) as raised:
        probe.measure(looking)
    assert "finite" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["sharpness", "spectrum", "edge-of-stability"])
def test_what_is_measured_is_measured_in_the_precision_of_the_training(registry: Registry, name: str) -> None:
    assert resolve(registry.probe(name).options, {}, name)["dtype"] == "trained"
    data, module = problem(torch.float64), network(torch.float64)
    tables = {
        dtype: registry.probe(name).measure(context(registry, name, data, module, dtype=dtype))
        for dtype in ("trained", "float64", "float32")
    }
    pd.testing.assert_frame_equal(tables["trained"], tables["float64"])
    assert not tables["trained"].equals(tables["float32"])
    single = registry.probe(name).measure(
        context(registry, name, problem(torch.float32), network(torch.float32), dtype="trained")
    )
    assert not single.equals(tables["float64"])
