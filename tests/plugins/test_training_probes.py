"""Gradient flow, smoothness and covariate shift against closed forms and finite differences."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from networks import build
from probing import NETWORKS, context, function, ref, table_of, trained
from thalweg.contracts import Shape
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.curvature import Hessian
from thalweg.registry import Registry
from thalweg.testing.small import network, problem


@pytest.mark.parametrize("name", ["smoothness", "covariate-shift", "gradient-flow"])
@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda one: one.name)
def test_each_runs_on_dense_convolutional_and_residual_networks(
    registry: Registry, name: str, architecture: object
) -> None:
    given = {"gradient-flow": {"jacobian": "always"}}.get(name, {"every": 1})
    table = trained(registry, name, architecture, **given)  # type: ignore[arg-type]
    assert len(table)
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()
    json.dumps(registry.probe(name).chart(table).to_dict())
    for view in registry.probe(name).views().values():
        json.dumps(view(table).to_dict())  # type: ignore[attr-defined]


def test_probes_measure_only_at_the_steps_that_are_due(registry: Registry) -> None:
    assert trained(registry, "smoothness", ref("mlp"), every=2)["step"].tolist() == [2]
    assert trained(registry, "covariate-shift", ref("mlp"), every=3).empty


def test_gradient_norms_are_the_slopes_along_the_gradient(registry: Registry) -> None:
    module, data = network(torch.float64), problem(torch.float64)
    looking = context(registry, "gradient-flow", data, module)
    table = table_of(registry.probe("gradient-flow"), looking)
    norms = table[table["quantity"] == "gradient norm"]
    _, gradients = looking.objective.gradient()
    for parameter, gradient in zip(looking.objective.parameters, gradients, strict=True):
        if parameter.dim() == 1:
            continue
        name = next(name for name, one in module.named_parameters() if one is parameter)
        losses = []
        for h in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(gradient / gradient.norm(), alpha=h)
                losses.append(float(looking.objective.loss()))
                parameter.sub_(gradient / gradient.norm(), alpha=h)
        slope = (losses[0] - losses[1]) / 2e-5
        assert norms.loc[norms["layer"] == name, "value"].item() == pytest.approx(slope, rel=1e-6)


def test_jacobian_norms_are_those_of_automatic_differentiation(registry: Registry) -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    data = problem(torch.float64)
    looking = context(registry, "gradient-flow", data, module, tangents=3000)
    table = table_of(registry.probe("gradient-flow"), looking)
    found = table[table["quantity"] == "Jacobian norm"]["value"].tolist()
    x = data.reduced(dtype=torch.float64).batch("train", 0, looking.objective._draw).inputs
    assert x is not None
    for depth, layers in enumerate((2, 4)):
        jacobians = torch.func.vmap(torch.func.jacrev(module[:layers]))(x)  # type: ignore[index]
        expected = jacobians.square().sum((1, 2)).mean().sqrt().item()
        assert found[depth] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("gain", "slope"), [(1.0, -1.0), (2**0.5, 0.0)])
def test_the_jacobian_of_orthogonal_relu_networks_halves_in_each_layer_at_gain_1(
    registry: Registry, gain: float, slope: float
) -> None:
    shape = Shape("classification", (256,), (10,))
    options = {"depth": 20, "width": 256, "init": "orthogonal", "gain": gain}
    module = build(registry, "deep-mlp", shape, options).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 256, generator=generator, dtype=torch.float64)
    y = torch.randint(10, (64,), generator=generator)
    data = Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION)
    looking = context(registry, "gradient-flow", data, module, tangents=20)
    table = table_of(registry.probe("gradient-flow"), looking)
    found = table[table["quantity"] == "Jacobian norm"]
    fitted = np.polyfit(found["depth"], 2 * np.log2(found["value"]), 1)[0]
    assert fitted == pytest.approx(slope, abs=0.05)


def test_units_that_are_always_zero_are_dead_and_sizes_are_root_mean_squares(registry: Registry) -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        module[0].bias[:2] = -1e6  # type: ignore[index, operator]
        module[0].bias[2:] = 50  # type: ignore[index, operator]
    data = problem(torch.float64)
    table = table_of(registry.probe("gradient-flow"), context(registry, "gradient-flow", data, module))
    assert table.loc[table["quantity"] == "dead units", "value"].tolist() == [2 / 8]
    after = module[:2](data.data["train"][0])  # type: ignore[attr-defined, index]
    size = after.square().mean().sqrt().item()
    assert table.loc[table["quantity"] == "activation size", "value"].item() == pytest.approx(size)


def test_smoothness_on_a_quadratic_is_known(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=6)
    looking = context(registry, "smoothness", loaded, module, count=8)
    looking.lr = 0.01
    (row,) = pd.DataFrame(registry.probe("smoothness").measure(looking)).to_dict("records")
    hessian = Hessian(looking.objective_on())
    g = hessian.gradient
    alphas = np.linspace(0.5, 4, 8) * 0.01
    losses = [float(hessian.loss - a * (g @ g) + 0.5 * a**2 * (g @ (hessian @ g))) for a in alphas]
    assert row["loss_low"] == pytest.approx(min(losses), rel=1e-10)
    assert row["loss_high"] == pytest.approx(max(losses), rel=1e-10)
    change = float((hessian @ g).norm())
    assert row["gradient_low"] == pytest.approx(alphas[0] * change, rel=1e-10)
    assert row["gradient_high"] == pytest.approx(alphas[-1] * change, rel=1e-10)
    assert row["beta"] == pytest.approx(change / float(g.norm()), rel=1e-10)


def test_without_a_learning_rate_there_are_no_steps_to_measure(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=3)
    for name in ("smoothness", "covariate-shift"):
        with pytest.raises(ValueError, match="learning rate"):
            registry.probe(name).measure(context(registry, name, loaded, module))


def test_the_shift_of_a_layer_is_that_of_the_layers_before_it(registry: Registry) -> None:
    module, data = network(torch.float64), problem(torch.float64)
    looking = context(registry, "covariate-shift", data, module)
    looking.lr = 0.1
    table = pd.DataFrame(registry.probe("covariate-shift").measure(looking))
    assert table["layer"].tolist() == ["0.weight", "3.weight"]
    # nothing is before the first layer
    assert table.loc[0, "difference"] == 0
    assert table.loc[0, "cosine"] == pytest.approx(1)
    # by hand: everything but the last layer makes its step
    loss, gradients = looking.objective.gradient()
    assert float(loss) > 0
    with torch.no_grad():
        for parameter, gradient in list(zip(module.parameters(), gradients, strict=True))[:4]:
            parameter.sub_(0.1 * gradient)
    _, moved = looking.objective.gradient()
    g, h = gradients[4], moved[4]
    assert table.loc[1, "difference"] == pytest.approx(float((g - h).norm()), rel=1e-10)
    assert table.loc[1, "relative"] == pytest.approx(float((g - h).norm() / g.norm()), rel=1e-10)
    assert table.loc[1, "cosine"] == pytest.approx(float((g * h).sum() / g.norm() / h.norm()), rel=1e-10)


def test_in_training_the_step_is_the_optimizers_own(registry: Registry) -> None:
    table = trained(registry, "covariate-shift", ref("mlp", widths=[8, 8]), every=1)
    assert table.groupby("step").size().tolist() == [3, 3]
    assert (table[table["depth"] > 1]["difference"] > 0).all()


def test_what_is_nan_on_the_way_is_not_passed_over(registry: Registry) -> None:
    loaded, module = function(registry, "quadratic", dim=3)
    for lr in (1e160, 0.0):
        looking = context(registry, "smoothness", loaded, module)
        looking.lr = lr
        (row,) = table_of(registry.probe("smoothness"), looking).to_dict("records")
        assert not np.isfinite(row["beta"])
    original = looking.objective.gradient
    calls = 0

    def sometimes() -> object:
        nonlocal calls
        calls += 1
        loss, gradient = original()
        return (loss * torch.nan, [g * torch.nan for g in gradient]) if calls == 3 else (loss, gradient)

    looking.objective.gradient = sometimes  # type: ignore[method-assign, assignment]
    looking.lr = 0.01
    (row,) = table_of(registry.probe("smoothness"), looking).to_dict("records")
    for column in ("loss_low", "loss_high", "gradient_low", "gradient_high", "beta"):
        assert np.isnan(row[column]), column


class _Tokens(nn.Module):
    """Two linear layers on (N, T, F), or convolutions on (N, C, L), with one activation in both places."""

    def __init__(self, convolution: bool) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.one = nn.Conv1d(3, 8, 1) if convolution else nn.Linear(3, 8)
        self.two = nn.Conv1d(8, 4, 1) if convolution else nn.Linear(8, 4)
        self.head = nn.Linear(4, 3)
        self.convolution = convolution
        with torch.no_grad():
            self.one.bias[:2], self.one.bias[2:] = -1e6, 50  # type: ignore[index]
            self.two.bias[0], self.two.bias[1:] = -1e6, 1e6  # type: ignore[index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.view(-1, 2, 3)
        h = self.act(self.two(self.act(self.one(h.mT if self.convolution else h))))
        out: torch.Tensor = self.head(h.mean(2 if self.convolution else 1))
        return out


@pytest.mark.parametrize("convolution", [False, True])
def test_dead_units_are_features_and_not_positions(registry: Registry, convolution: bool) -> None:
    module = _Tokens(convolution).double()
    looking = context(registry, "gradient-flow", problem(torch.float64), module)
    table = table_of(registry.probe("gradient-flow"), looking)
    assert table.loc[table["quantity"] == "dead units", "value"].tolist() == [2 / 8, 1 / 4]
    assert not any(layer._forward_hooks for layer in module.modules())


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.act(self.lstm(x.view(-1, 2, 3))[0]).flatten(1))
        return out


def test_without_forward_mode_the_jacobians_are_left_out(registry: Registry) -> None:
    looking = context(registry, "gradient-flow", problem(torch.float32), _Recurrent())
    table = table_of(registry.probe("gradient-flow"), looking)
    assert set(table["quantity"]) == {"gradient norm", "activation size", "dead units"}
    assert np.isfinite(table["value"]).all()

    class Broken(_Recurrent):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.autograd.forward_ad.unpack_dual(x).tangent is not None:  # type: ignore[no-untyped-call]
                raise RuntimeError("of its own")
            return super().forward(x)

    with pytest.raises(RuntimeError, match="of its own"):
        table_of(registry.probe("gradient-flow"), context(registry, "gradient-flow", problem(torch.float32), Broken()))
