"""The spectrum probe against dense matrices in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from probing import context, function, ref, trained
from thalweg.contracts import LoadedProblem
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.curvature import GGN, Fisher, Hessian, Operator, flat, smoothed
from thalweg.registry import Registry
from thalweg.testing.small import network, problem
from thalweg_plugins.problems.quadratic import Quadratic

MATRICES: dict[str, type[Operator]] = {"hessian": Hessian, "ggn": GGN, "fisher": Fisher}


def perceptron() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def measure(registry: Registry, it: tuple[LoadedProblem, nn.Module], **given: Any) -> pd.DataFrame:
    return registry.probe("spectrum").measure(context(registry, "spectrum", *it, **given))


def objective(registry: Registry, it: tuple[LoadedProblem, nn.Module], **given: Any) -> Objective:
    return context(registry, "spectrum", *it, **given).objective_on(dtype=torch.float64)


def rows(table: pd.DataFrame, kind: str, quantity: str = "") -> pd.DataFrame:
    return table[(table["kind"] == kind) & (table["quantity"] == quantity)]


def values(table: pd.DataFrame, kind: str, quantity: str = "") -> list[float]:
    found: list[float] = rows(table, kind, quantity)["value"].tolist()
    return found


def exact_density(table: pd.DataFrame, eigenvalues: Tensor) -> tuple[np.ndarray[Any, Any], pd.DataFrame]:
    density = rows(table, "density")
    at = torch.tensor(density["at"].to_numpy())
    weights = torch.full_like(eigenvalues, 1 / len(eigenvalues))
    return smoothed(eigenvalues, weights, at, density["sigma"].iloc[0]).numpy(), density


@pytest.mark.parametrize("spectrum", ["geometric", "two-values"])
def test_the_quadratics_spectrum_is_the_one_it_was_made_with(registry: Registry, spectrum: str) -> None:
    it = function(registry, "quadratic", dim=12, spectrum=spectrum)
    table = measure(registry, it, eigenvalues=6, vectors=36)
    hessian, minimum = Quadratic().hessian_and_minimum(
        resolve(Quadratic.options, {"dim": 12, "spectrum": spectrum}, "x")
    )
    exact = torch.linalg.eigvalsh(hessian)
    assert values(table, "eigenvalue", "largest") == pytest.approx(exact.flip(0)[:6].tolist(), rel=1e-10)
    assert values(table, "eigenvalue", "smallest") == pytest.approx(exact[:6].tolist(), rel=1e-10)
    # a third of the vectors spans all twelve dimensions, in which Hutch++ is exact
    assert values(table, "trace", "Hutch++") == pytest.approx([float(exact.sum())], rel=1e-10)
    assert rows(table, "density")["sigma"].iloc[0] == pytest.approx(99 / 50)
    g = hessian @ (flat(it[1].parameters()).detach() - minimum)
    if spectrum == "geometric":
        q = torch.linalg.eigh(hessian).eigenvectors.flip(1)[:, :6]
        expected = (q.T @ g).square().cumsum(0) / g.square().sum()
        assert values(table, "overlap") == pytest.approx(expected.tolist(), rel=1e-8)


def test_a_deep_linear_networks_spectrum_is_that_of_its_hessian(registry: Registry) -> None:
    it = function(registry, "deep-linear-network")
    table = measure(registry, it)
    x = flat(it[1].parameters()).detach()
    exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(it[0].f, x))  # type: ignore[attr-defined]
    assert values(table, "eigenvalue", "largest") == pytest.approx(exact.flip(0)[:5].tolist(), rel=1e-8)
    assert values(table, "eigenvalue", "smallest") == pytest.approx(exact[:5].tolist(), rel=1e-8)


@pytest.mark.parametrize("matrix", list(MATRICES))
def test_a_perceptrons_spectrum_is_that_of_the_dense_matrix(registry: Registry, matrix: str) -> None:
    it = (problem(torch.float64), perceptron())
    dense = MATRICES[matrix](objective(registry, it)).dense()
    exact, q = torch.linalg.eigh(dense)
    table = measure(registry, it, matrix=matrix, draws=100, vectors=60, blocks=True)
    for quantity, expected in (("largest", exact.flip(0)[:5]), ("smallest", exact[:5])):
        found = rows(table, "eigenvalue", quantity)
        assert found["value"].tolist() == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-12)
        slack = 1e-12 * float(exact[-1])
        assert (found["low"] - slack <= expected.numpy()).all()
        assert (found["high"] + slack >= expected.numpy()).all()
    trace = float(dense.trace())
    for quantity in ("Hutchinson", "Hutch++"):
        (found,) = rows(table, "trace", quantity).itertuples()
        assert abs(found.value - trace) < 2.5 * (found.high - found.value)  # five standard errors
        assert found.vectors == 60
    wanted, density = exact_density(table, exact)
    spacing = float(density["at"].iloc[1] - density["at"].iloc[0])
    # the L1 distance; a draw's variance is at most 2/P of the density, so that 100 of 83 dimensions give about 2%
    assert np.abs(density["value"] - wanted).sum() * spacing < 0.05
    assert ((density["low"] <= density["value"]) & (density["value"] <= density["high"])).all()
    g = objective(registry, it).gradient()[1]
    g = flat(g)
    overlap = (q.flip(1)[:, :5].T @ g).square().cumsum(0) / g.square().sum()
    assert values(table, "overlap") == pytest.approx(overlap.tolist(), rel=1e-6)
    blocks, at = table[table["kind"] == "block"], 0
    for name, parameter in it[1].named_parameters():
        block = dense[at : at + parameter.numel(), at : at + parameter.numel()]
        at += parameter.numel()
        if parameter.dim() > 1:
            largest, total = (
                blocks[(blocks["layer"] == name) & (blocks["quantity"] == x)] for x in ("largest", "trace")
            )
            assert largest["value"].tolist() == pytest.approx([float(torch.linalg.eigvalsh(block)[-1])], rel=1e-6)
            half = float(total["high"].iloc[0] - total["value"].iloc[0])
            assert abs(float(total["value"].iloc[0] - block.trace())) < 2.5 * half
    assert blocks["index"].tolist() == [1, 1, 2, 2]


def test_single_precision_agrees_with_double(registry: Registry) -> None:
    it = (problem(torch.float64), perceptron())
    single, double = (measure(registry, it, dtype=dtype) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(
        values(single, "eigenvalue", "largest"), values(double, "eigenvalue", "largest"), rtol=1e-4
    )


def test_the_density_of_curvlinops_is_the_same(registry: Registry) -> None:
    """At its own grid and width, set by its kappa and margin; 20 of its draws in 83 dimensions are off by 10%."""
    curvlinops = pytest.importorskip("curvlinops")
    it = (problem(torch.float64), perceptron())
    x, y = it[0].data["train"]  # type: ignore[attr-defined]
    operator = curvlinops.HessianLinearOperator(
        it[1], nn.CrossEntropyLoss(), list(it[1].parameters()), [(x, y)], check_deterministic=False
    )
    ends = [values(measure(registry, it, draws=1), "eigenvalue", q)[0] for q in ("smallest", "largest")]
    torch.manual_seed(0)
    grid, theirs = curvlinops.lanczos_approximate_spectrum(
        operator, 50, num_points=401, num_repeats=20, boundaries=tuple(ends)
    )
    sigma = (ends[1] - ends[0]) * 1.1 / 2 * (2 / 49 / math.sqrt(8 * math.log(3)))
    density = rows(measure(registry, it, draws=100, width=sigma), "density")
    ours = np.interp(grid.numpy(), density["at"], density["value"])
    assert np.abs(ours - theirs.numpy()).sum() * float(grid[1] - grid[0]) < 0.15


def test_statistics_of_the_batch_leave_the_hessian_and_no_mean_over_examples(registry: Registry) -> None:
    it = (problem(torch.float64), network(torch.float64))
    table = measure(registry, it, batch_norm="batch")
    exact = torch.linalg.eigvalsh(
        Hessian(context(registry, "spectrum", *it).objective_on(dtype=torch.float64, batch_norm="batch")).dense()
    )
    assert values(table, "eigenvalue", "largest") == pytest.approx(exact.flip(0)[:5].tolist(), rel=1e-6)
    for matrix in ("ggn", "fisher"):
        with pytest.raises(ValueError, match="mean over examples"):
            measure(registry, it, matrix=matrix, batch_norm="batch")
        # without batch norm there is nothing to refuse
        assert len(measure(registry, (it[0], perceptron()), matrix=matrix, batch_norm="batch", draws=1))


def test_a_function_has_no_ggn_and_a_loss_that_is_not_finite_no_spectrum(registry: Registry) -> None:
    it = function(registry, "quadratic", dim=1)
    table = measure(registry, it)
    assert values(table, "eigenvalue", "largest") == values(table, "eigenvalue", "smallest") == pytest.approx([1.0])
    with pytest.raises(ValueError, match="no function of outputs"):
        measure(registry, it, matrix="ggn")
    with torch.no_grad():
        next(it[1].parameters()).fill_(math.inf)
    with pytest.raises(ValueError, match="not finite"):
        measure(registry, it)


def test_too_few_iterations_are_refused(registry: Registry) -> None:
    probe = registry.probe("spectrum")
    assert probe.misfit(resolve(probe.options, {}, "x")) is None
    reason = probe.misfit(resolve(probe.options, {"iterations": 9}, "x"))
    assert reason is not None
    assert "at least 10" in reason


ARCHITECTURES = [
    ref("mlp", widths=[8]),
    ref("convnet", channels=[2, 2, 2], widths=[4], padding="same", norm="batch"),
    ref("resnet", depth=8, width=2),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.name)
def test_it_runs_after_training(registry: Registry, architecture: Any) -> None:
    cheap = {"examples": 32, "iterations": 10, "steps": 4, "draws": 2, "vectors": 6, "eigenvalues": 2}
    table = trained(registry, "spectrum", architecture, **cheap, blocks=True)
    assert set(table["kind"]) == {"eigenvalue", "trace", "density", "overlap", "block"}
    numbers = table[table["kind"] != "density"]["value"]
    assert np.isfinite(numbers).all()
    probe = registry.probe("spectrum")
    for draw in (probe.chart, *probe.views().values()):
        for shown in (table, pd.concat([table.assign(trial="a"), table.assign(trial="b")])):
            document = draw(shown).to_dict()  # type: ignore[attr-defined]
            assert document["title"]["text"].endswith("Hessian")
