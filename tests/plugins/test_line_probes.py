"""The probes line, directions, trajectory and mode connectivity, against known results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from probing import NETWORKS, context, function, ref, table_of, trained
from support import CommandLine, results
from thalweg.contracts.budget import Budget
from thalweg.contracts.probe import SavedWeights
from thalweg.curvature import Hessian
from thalweg.landscape import Evaluator
from thalweg.landscape.shape import barrier, roughness
from thalweg.registry import Registry
from thalweg.testing.small import network, problem
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial


@pytest.mark.parametrize("name", ["line", "directions", "trajectory", "surface", "gradient-flow"])
@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda one: one.name)
def test_each_probe_runs_on_dense_convolutional_and_residual_networks(
    registry: Registry, name: str, architecture: object
) -> None:
    given = {
        "line": {"points": 3},
        "directions": {"points": 5, "draws": 1, "examples": 64},
        "surface": {"resolution": 3},
    }
    table = trained(registry, name, architecture, **given.get(name, {}))  # type: ignore[arg-type]
    assert len(table)
    assert np.isfinite(table.select_dtypes("number").iloc[:, 0]).all()
    json.dumps(registry.probe(name).chart(table).to_dict())
    for view in registry.probe(name).views().values():
        json.dumps(view(table).to_dict())  # type: ignore[attr-defined]


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda one: one.name)
def test_two_networks_of_each_kind_are_compared(registry: Registry, architecture: ComponentRef) -> None:
    """The option ``--other`` does so; the ends of the line have the two networks' losses."""
    digits = ref("digits") if architecture.name == "mlp" else ref("digits", layout="image")
    one, other = (
        assemble(
            Trial(
                problem=digits,
                architecture=architecture,
                optimizer=ref("sgd"),
                budget=Budget(steps=1),
                batch_size=64,
                seed=seed,
            ),
            registry,
        )
        for seed in (0, 1)
    )
    looking = context(registry, "mode-connectivity", one.problem, one.module, points=3)
    looking.weights = SavedWeights(final=one.module.state_dict())
    looking.other = SavedWeights(final=other.module.state_dict())
    probe = registry.probe("mode-connectivity")
    table = table_of(probe, looking)
    losses = table[table["split"] == "train"]["loss"].tolist()
    ends = [it.problem.evaluate(it.module.eval(), "train")["loss"] for it in (one, other)]
    if architecture.name == "mlp":  # batch norm's statistics are the probe's to choose
        assert [losses[0], losses[-1]] == pytest.approx(ends, rel=1e-5)
    assert np.isfinite(losses).all()
    json.dumps(probe.chart(table).to_dict())


def test_directions_on_a_quadratic_are_the_known_parabolas(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=6)
    looking = context(registry, "directions", loaded, module, points=11, draws=2, layers=False)
    table = registry.probe("directions").measure(looking)
    objective = looking.objective_on()
    hessian = Hessian(objective)
    w, g = next(module.parameters()).detach(), hessian.gradient
    t = torch.linspace(-0.5, 0.5, 11, dtype=torch.float64) * w.norm()
    along = g / g.norm()
    expected = hessian.loss + t * (g @ along) + 0.5 * t**2 * (along @ (hessian @ along))
    for kind in ("gradient", "total gradient"):
        found = table[(table["direction"] == kind) & (table["draw"] == 0)]
        np.testing.assert_allclose(found["t"], np.linspace(-0.5, 0.5, 11), atol=1e-15)
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-12)
    random = table[table["direction"] == "random"]
    assert random["draw"].nunique() == 2
    for _, part in random.groupby("draw"):
        losses = part["loss"].to_numpy()
        assert np.abs(np.diff(losses, 3)).max() < 1e-7 * np.ptp(losses)
        assert losses[5] == pytest.approx(float(hessian.loss), rel=1e-14)


def test_cross_entropy_is_convex_along_directions_of_the_last_layer(registry: Registry) -> None:
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    looking = context(registry, "directions", problem(torch.float64), module, draws=3)
    table = registry.probe("directions").measure(looking)
    last = table[table["depth"] == table["depth"].max()]
    assert set(last["layer"]) == {"4.weight"}
    assert last.groupby(["direction", "draw"]).ngroups == 4
    for _, part in last.groupby(["direction", "draw"]):
        assert roughness(part["loss"].to_numpy(), 0.01).concave == 0


def test_the_weights_themselves_must_be_among_the_points(registry: Registry) -> None:
    reason = registry.probe("directions").misfit({"points": 10})
    assert reason is not None
    assert "points = 10 is even" in reason


def test_a_line_with_interpolated_statistics_has_the_losses_of_both_ends(registry: Registry) -> None:
    start, end, data = network(torch.float64), network(torch.float64), problem(torch.float64)
    with torch.no_grad():
        for tensor in end.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.5).add_(0.2)
    looking = context(registry, "line", data, end, points=5, batch_norm="interpolated")
    looking.weights = SavedWeights(initial=start.state_dict(), final=end.state_dict())
    table = registry.probe("line").measure(looking)
    losses = table[table["metric"] == "loss"]["value"].tolist()
    assert losses[0] == pytest.approx(data.evaluate(start.eval(), "train")["loss"], rel=1e-12)
    assert losses[-1] == pytest.approx(data.evaluate(end.eval(), "train")["loss"], rel=1e-12)


def test_between_two_points_of_a_convex_function_there_is_no_barrier(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=6)
    looking = context(registry, "mode-connectivity", loaded, module, points=9)
    other = {name: tensor + 1 for name, tensor in module.state_dict().items()}
    looking.other = SavedWeights(final=other)
    table = registry.probe("mode-connectivity").measure(looking)
    assert table["split"].unique().tolist() == ["train"]
    assert table["barrier"].iloc[0] == pytest.approx(0, abs=1e-9)
    assert np.abs(np.diff(table["loss"], 3)).max() < 1e-9 * table["loss"].max()


def test_a_trajectory_of_known_steps(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=3)
    looking = context(registry, "trajectory", loaded, module)
    path = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 2, 0], [1, 4, 0]])
    looking.weights = SavedWeights(trajectory=path, trajectory_steps=(0, 5, 10, 15))
    table = registry.probe("trajectory").measure(looking)
    assert table["moved"].iloc[1:].tolist() == [1, 2, 2]
    assert table["turn"].iloc[1:-1].tolist() == pytest.approx([90, 0])
    assert table["distance"].tolist() == pytest.approx([0, 1, 5**0.5, 17**0.5])
    assert table["remaining"].iloc[-1] == 0
    assert table["explained1"].iloc[0] + table["explained2"].iloc[0] == pytest.approx(1)
    centred = path.double() - path.double().mean(0)
    lengths = table[["pc1", "pc2", "pc3"]].to_numpy()
    np.testing.assert_allclose(lengths @ lengths.T, centred @ centred.T, atol=1e-12)


def test_two_trials_are_compared_on_the_command_line(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml", "--keep", "weights", "--only", "workload=small", "--only", "optimizer=adam")
    one, other = (trial.document for trial in sorted(results(cli).scan()[0], key=lambda t: t.document.trial.seed))
    assert (
        "compares two trials: name the other one with --other"
        in cli("probe", one.hash, "mode-connectivity", code=2).stderr
    )
    tables = []
    for first, second in ((one, other), (other, one)):
        document = cli.json("probe", first.hash, "mode-connectivity", "--other", second.hash, "--set", "points=5")
        tables.append(pd.read_parquet(cli.folder / document["path"]))
        assert json.loads(json.dumps(document))["status"] == "done"
    assert set(tables[0]["split"]) == {"train", "valid", "test"}
    np.testing.assert_allclose(tables[0]["barrier"], tables[1]["barrier"], rtol=1e-5)
    train = tables[0][tables[0]["split"] == "train"]
    assert train["barrier"].iloc[0] == pytest.approx(barrier(train["loss"].to_numpy()))
    line = cli.json(
        "probe", one.hash, "line", "--other", other.hash, "--set", "points=3", "--set", 'batch_norm="interpolated"'
    )
    table = pd.read_parquet(cli.folder / line["path"])
    losses = table[table["metric"] == "loss"]["value"].to_numpy()
    for document, loss in ((one, losses[0]), (other, losses[-1])):
        assert loss == pytest.approx(document.summary["final"]["train"]["loss"], rel=1e-5)
    assert (
        line["key"]
        != cli.json("probe", one.hash, "line", "--set", "points=3", "--set", "batch_norm=interpolated")["key"]
    )
    cli("results", "verify")


def line_table(t: np.ndarray, losses: np.ndarray, ends: str = "start to finish") -> pd.DataFrame:
    return pd.DataFrame({"ends": ends, "t": t, "metric": "loss", "value": losses})


def subtitle(registry: Registry, name: str, table: pd.DataFrame) -> str:
    document = registry.probe(name).chart(table).to_dict()
    return " ".join(document["title"]["subtitle"])


def test_the_shape_of_a_line_is_that_between_its_ends(registry: Registry) -> None:
    chart = registry.probe("line").chart
    for ends in ("start to finish", "trial to trial"):
        inside = line_table(np.linspace(0, 1, 21), (np.linspace(0, 1, 21) - 0.8) ** 2 + 0.3, ends)
        wide = np.linspace(-1, 2, 61)
        whole = line_table(wide, (wide - 0.8) ** 2 + 0.3, ends)
        expected, found = (subtitle(registry, "line", table) for table in (inside, whole))
        assert found.replace(" between t = 0 and t = 1", "") == expected
        assert "between t = 0 and t = 1" in found
        shifted = line_table(wide + 0.013, (wide - 0.8) ** 2, ends)
        assert "t = 0 and t = 1 are not both among the points" in subtitle(registry, "line", shifted)
    json.dumps(chart(whole).to_dict())


def test_a_line_that_ends_before_it_begins_is_refused(registry: Registry) -> None:
    assert registry.probe("line").misfit({"low": 0.0, "high": 1.0}) is None
    for low in (1.0, 2.0):
        assert "is not below high" in str(registry.probe("line").misfit({"low": low, "high": 1.0}))


def test_points_of_a_line_that_are_not_finite_are_counted_and_marked(registry: Registry) -> None:
    table = line_table(np.linspace(0, 1, 11), np.linspace(3, 1, 11))
    table.loc[4:5, "value"] = [np.nan, np.inf]
    about = subtitle(registry, "line", table)
    assert "2 of 11 points are not finite" in about
    assert "nan" not in about
    document = registry.probe("line").chart(table).to_dict()
    assert [layer["mark"]["text"] for layer in document["layer"] if "text" in layer["mark"]] == ["\u00d7"]
    rising = line_table(np.linspace(0, 1, 11), np.linspace(1, 3, 11))
    assert "no drop to measure by" in subtitle(registry, "line", rising)
    assert "they need three points" in subtitle(registry, "line", rising.iloc[[0, -1]])


def test_other_curves_count_what_is_not_finite_too(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=6)
    looking = context(registry, "mode-connectivity", loaded, module, points=5)
    looking.other = SavedWeights(final={name: tensor + 1 for name, tensor in module.state_dict().items()})
    table = registry.probe("mode-connectivity").measure(looking)
    table.loc[2, "loss"] = np.inf
    assert "train unknown 1 of 5 points are not finite" in subtitle(registry, "mode-connectivity", table)
    table = registry.probe("directions").measure(context(registry, "directions", loaded, module, points=5, draws=2))
    assert "not finite" not in subtitle(registry, "directions", table)
    table.loc[0, "loss"] = np.nan
    assert "1 of 20 points are not finite" in subtitle(registry, "directions", table)
    views = registry.probe("directions").views()
    assert "1 of 7 lines" in str(views["roughness"](table).to_dict()["title"])  # type: ignore[attr-defined]


def test_roughness_keeps_trials_apart(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=6)
    table = registry.probe("directions").measure(context(registry, "directions", loaded, module, points=5, draws=1))
    both = pd.concat([table.assign(trial="a"), table.assign(trial="b", loss=table["loss"] * 7 + 1)])
    document = registry.probe("directions").views()["roughness"](both).to_dict()  # type: ignore[attr-defined]
    (rows,) = document["datasets"].values()
    # along a line a quadratic never bends downwards
    assert {row["concave"] for row in rows} == {0.0}


def test_a_path_that_is_not_finite_has_distances_and_no_components(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=3)
    looking = context(registry, "trajectory", loaded, module)
    path = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 2, 0], [torch.nan, 4, 0]])
    looking.weights = SavedWeights(trajectory=path, trajectory_steps=(0, 5, 10, 15))
    table = registry.probe("trajectory").measure(looking)
    assert table["distance"].iloc[:3].tolist() == pytest.approx([0, 1, 5**0.5])
    assert table[["pc1", "explained1"]].isna().all().all()


@pytest.mark.parametrize("name", ["directions", "mode-connectivity", "surface", "line"])
def test_each_curve_keeps_what_it_has(
    registry: Registry, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"surface": {"draws": 2, "resolution": 3}}.get(name, {"points": 5})
    start, end, data = network(torch.float64), network(torch.float64), problem(torch.float64)
    files: list[Path | None] = []
    original = Evaluator.__call__

    def noted(evaluator: Evaluator, *args: Any, **kwargs: Any) -> Any:
        files.append(kwargs.get("resume"))
        return original(evaluator, *args, **kwargs)

    monkeypatch.setattr(Evaluator, "__call__", noted)
    looking = context(registry, name, data, end, **given)
    looking.scratch = tmp_path
    flat = torch.nn.utils.parameters_to_vector
    ends = [flat(module.parameters()).detach() * scale for module, scale in ((start, 0.5), (end, 1.0))]
    looking.weights = SavedWeights(start.state_dict(), end.state_dict(), torch.stack(ends), (0, 1))
    looking.other = looking.weights
    registry.probe(name).measure(looking)
    kept = [file for file in files if file is not None]
    # the optimizer's own points of a surface are few
    assert len(kept) == len(files) - (name == "surface")
    assert len(set(kept)) == len(kept)
    assert {file.parent for file in kept} == {tmp_path}
