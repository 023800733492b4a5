"""Every probe on networks a little out of the ordinary, from a benchmark file to the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from probing import context
from support import CommandLine, results
from thalweg.contracts.probe import SavedWeights
from thalweg.curvature import GGN, Hessian
from thalweg.landscape import flat
from thalweg.registry import Registry
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import read_weights
from unusual import EXAMPLES, KINDS, Counts, built, data, fresh, loss, numbers, put

PLUGIN = """
import torch
import thalweg
from unusual import KINDS


class Unusual(thalweg.Architecture):
    name, summary = "unusual", "networks a little out of the ordinary"
    options = (thalweg.Option("kind", "plain", tuple(KINDS), "which"),)

    def build(self, options, shape):
        return KINDS[options["kind"]]()


@thalweg.hookimpl
def thalweg_register_architectures(register):
    register(Unusual)
"""

EVERY_PROBE = """
[optimizers.momentum]
lr = 0.05
[probes.line]
points = 5
[probes.directions]
points = 5
draws = 1
[probes.surface]
resolution = 3
[probes.layers]
probe = "surface"
resolution = 3
normalization = "layer"
[probes.path]
probe = "surface"
resolution = 3
directions = "path"
[probes.hessian]
probe = "surface"
resolution = 3
directions = "hessian"
[probes.trajectory]
[probes.gradient-flow]
[probes.smoothness]
every = 1
[probes.covariate-shift]
every = 1
[probes.noise-scale]
small = 2
big = 4
draws = 2
[probes.spectrum]
eigenvalues = 2
vectors = 6
draws = 2
blocks = true
[probes.ggn]
probe = "spectrum"
matrix = "ggn"
eigenvalues = 2
vectors = 6
draws = 2
[probes.sharpness]
steps = 2
restarts = 2
pairs = 3
[probes.edge-of-stability]
"""


def workload(kind: str, dtype: str = "float64") -> str:
    return f"""
[workloads.{kind}]
problem = {{ name = "arrays", file = "data.npz", normalisation = "none" }}
architecture = {{ name = "unusual", kind = "{kind}" }}
dtype = "{dtype}"
budget = {{ steps = 6 }}
batch_size = 4
evaluate_every = {{ steps = 2 }}
"""


def run(cli: CommandLine, text: str, *words: str, code: int = 0) -> list[StoredTrial]:
    x, y = (tensor.numpy() for tensor in data().data["train"])
    np.savez(cli.folder / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (cli.folder / "plugin.py").write_text(PLUGIN, encoding="utf-8")
    (cli.folder / "unusual.toml").write_text(f'title = "Unusual"\nsummary = "s"\nseeds = 1\n{text}', encoding="utf-8")
    cli("run", "unusual.toml", "--plugin", "plugin.py", "-q", *words, code=code)
    return results(cli, "unusual").scan()[0]


performance = pytest.mark.filterwarnings("ignore:There is a performance drop")


@performance
@pytest.mark.parametrize("kind", KINDS)
def test_every_probe_measures_and_none_costs_the_trial(cli: CommandLine, kind: str) -> None:
    (trial,) = run(cli, workload(kind) + EVERY_PROBE, "--keep", "trajectory")
    assert trial.document.status == "done"
    failed = {key: probe.error for key, probe in trial.document.probes.items() if probe.error is not None}
    assert failed == {}
    tables = {key: trial.table(key) for key in trial.document.probes}
    assert len(tables) == 15
    assert all(len(table) for table in tables.values())
    final = read_weights(trial.files).final
    assert final is not None
    at_the_end = built(kind)
    at_the_end.load_state_dict(final)
    with torch.no_grad():
        expected = float(loss(at_the_end.eval()))
    for key, table in tables.items():
        if key.startswith("surface"):
            grid = table[table["kind"] == "grid"]["loss"].to_numpy()
            np.testing.assert_allclose(grid[len(grid) // 2], expected, rtol=1e-10)
            assert np.ptp(grid) > 1e-6 * grid.max(), f"{key} is flat"
            assert np.isfinite(grid).all()
        if key.startswith("sharpness"):
            np.testing.assert_allclose(table["loss"], expected, rtol=1e-10)
            assert (table.loc[table["quantity"] != "Gaussian average", "rise"] > 0).all()
        if key.startswith("directions"):
            np.testing.assert_allclose(table.loc[(table["t"] == 0) & (table["step"] > 0), "loss"], expected, rtol=1e-10)


@performance
@pytest.mark.parametrize("kind", ["complex", "extra-state", "weight-norm-by-hook", "frozen", "pruned"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saved_weights_measure_as_those_in_training(cli: CommandLine, kind: str, dtype: str) -> None:
    (trial,) = run(cli, workload(kind, dtype) + EVERY_PROBE, "--keep", "trajectory")
    settings = {
        "surface": ("resolution=3", "directions=hessian"),
        "sharpness": ("steps=2", "restarts=2", "pairs=3"),
        "line": ("points=5",),
    }
    for name, given in settings.items():
        words = [word for one in given for word in ("--set", one)]
        before = {key: trial.table(key) for key in trial.document.probes}
        document = cli.json("probe", trial.document.hash, name, *words, "--fresh", "--plugin", "plugin.py")
        assert document["status"] == "done"
        (trial,) = results(cli, "unusual").scan()[0]
        # the last bits of an FFT depend on where in memory its numbers lie
        close = 1e-5 if dtype == "float32" else 1e-12
        pd.testing.assert_frame_equal(trial.table(document["key"]), before[document["key"]], rtol=close, atol=close)


def test_extra_state_that_is_no_json_trains_and_is_told_on_saved_weights(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "extra-state", lambda: Counts({"times": (2, 0.5)}))
    line = "[optimizers.momentum]\nlr = 0.05\n[probes.line]\npoints = 5\n"
    (trial,) = run(cli, workload("extra-state") + line, "--keep", "weights")
    assert trial.document.status == "done"
    assert {probe.error for probe in trial.document.probes.values()} == {None}
    told = cli("probe", trial.document.hash, "sharpness", "--plugin", "plugin.py", code=1).stderr
    assert "_extra_state of the network is not made of numbers" in told.replace("\n", " ")


@pytest.mark.parametrize("kind", ["vectors", "biases"])
def test_vectors_that_are_zero_have_no_filter_normalised_plane_and_no_ball(registry: Registry, kind: str) -> None:
    module = built(kind)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    for normalization in ("filter", "layer", "none"):
        looking = context(registry, "surface", data(), module, resolution=3, normalization=normalization)
        looking.weights = SavedWeights(module.state_dict(), module.state_dict(), flat(module)[None], (0,))
        if normalization == "none":
            grid = registry.probe("surface").measure(looking)
            assert np.ptp(grid["loss"].to_numpy()) > 0
        else:
            with pytest.raises(ValueError, match=f"normalization = '{normalization}' scales by are all zero"):
                registry.probe("surface").measure(looking)
    with pytest.raises(ValueError, match="every filter of the trained weights is zero"):
        registry.probe("sharpness").measure(context(registry, "sharpness", data(), module))


def gradient(module: nn.Module) -> Tensor:
    """Of the trained parameters, as real numbers."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return numbers(torch.autograd.grad(loss(module), trained, materialize_grads=True))


@pytest.mark.parametrize("kind", ["plain", "vectors", "biases", "complex", "frozen", "transposed"])
def test_one_step_of_ascent_is_that_by_hand(registry: Registry, kind: str) -> None:
    """d_f = rho ||w_f|| g_f / ||g_f||, with filters cut out by hand."""
    rho, module = 0.05, built(kind).eval()
    table = registry.probe("sharpness").measure(
        context(registry, "sharpness", data(), module, rho=[rho], steps=1, restarts=1, pairs=2)
    )
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    moves_matrices = any(parameter.dim() > 1 for parameter in trained)
    pieces, first = [], 0
    g, w = gradient(module), numbers(trained)
    for parameter in trained:
        last = first + parameter.numel() * (2 if parameter.is_complex() else 1)
        rows = len(parameter) if moves_matrices and parameter.dim() > 1 else 1
        moves = float(parameter.dim() > 1 or not moves_matrices)
        for g_f, w_f in zip(g[first:last].chunk(rows), w[first:last].chunk(rows), strict=True):
            pieces.append(moves * rho * w_f.norm() * g_f / g_f.norm())
        first = last
    d = torch.cat(pieces)
    other = fresh(kind, module)
    put(other, w + d, trained=True)
    with torch.no_grad():
        expected = float(loss(other) - loss(module))
    assert expected > 0
    found = table.loc[table["quantity"] == "lower bound of the maximum", "rise"].item()
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["complex", "frozen", "transposed", "weight-norm-by-hook"])
def test_norms_of_gradients_are_those_of_the_real_numbers(registry: Registry, kind: str) -> None:
    module = built(kind).eval()
    expected = float(gradient(module).norm())
    looking = context(registry, "smoothness", data(), module)
    looking.lr = 0.1
    np.testing.assert_allclose(registry.probe("smoothness").measure(looking)["gradient_norm"], expected, rtol=1e-12)
    looking = context(registry, "covariate-shift", data(), module)
    looking.lr = 0.1
    shift = pd.DataFrame(registry.probe("covariate-shift").measure(looking))
    flow = pd.DataFrame(registry.probe("gradient-flow").measure(context(registry, "gradient-flow", data(), module)))
    flow = flow[flow["quantity"] == "gradient norm"]
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad and p.dim() > 1]
    each = [float(numbers(torch.autograd.grad(loss(module), [p])).norm()) for _, p in named]
    for table, column in ((shift, "gradient_norm"), (flow, "value")):
        assert table["layer"].tolist() == [name for name, _ in named]
        np.testing.assert_allclose(table[column], each, rtol=1e-12)


@pytest.mark.parametrize("matrix", ["hessian", "ggn"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_spectrum_is_that_of_the_dense_matrix(registry: Registry, kind: str, matrix: str) -> None:
    module = built(kind).eval()
    looking = context(registry, "spectrum", data(), module, matrix=matrix, eigenvalues=4)
    table = registry.probe("spectrum").measure(looking)
    operator = {"hessian": Hessian, "ggn": GGN}[matrix](looking.objective_on("train"))
    exact = torch.linalg.eigvalsh(operator.dense()).numpy()
    for quantity, expected in (("largest", exact[::-1][:4]), ("smallest", exact[:4])):
        found = table[(table["kind"] == "eigenvalue") & (table["quantity"] == quantity)]["value"]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12 * abs(exact).max())


def test_jacobians_of_fused_attention_are_those_of_automatic_differentiation(registry: Registry) -> None:
    """E||J u||^2 = ||J||^2: exactly so over all unit vectors u, here over tangents drawn, to four standard errors."""
    module, tangents = built("attends").train(), 400
    module.act = nn.Tanh()  # what the probe looks at
    forward = module.forward
    module.forward = lambda x: module.act(forward(x))  # type: ignore[method-assign]
    table = pd.DataFrame(
        registry.probe("gradient-flow").measure(context(registry, "gradient-flow", data(), module, tangents=tangents))
    )
    found = table.loc[table["quantity"] == "Jacobian norm", "value"].item()
    x = data().data["train"][0]
    jacobian: Any = torch.autograd.functional.jacobian(lambda one: module(one).sum(0), x)
    squares = jacobian.square().sum((0, 2))
    # a chi-squared variable of one degree of freedom, at the worst, has a relative deviation of sqrt(2)
    spread = 4 * (2 / (tangents * EXAMPLES)) ** 0.5
    assert abs(found**2 / float(squares.mean()) - 1) < spread * float(squares.max() / squares.mean()) ** 0.5
