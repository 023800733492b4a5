"""Section F: the theorems to their tolerances, and signals and Jacobians against registered networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from claim_context import decided, draws, measured
from thalweg.contracts import Shape
from thalweg.contracts.option import resolve
from thalweg_plugins.architectures.deep_mlp import DeepMLP
from thalweg_plugins.claims.depth import F1, F2, F3, activations, jacobian
from thalweg_plugins.claims.depth._signals import (
    generator,
    growths,
    in_groups,
    mean_squares,
    normal,
    orthogonal,
    residual_mean_squares,
    slope,
    squared_jacobians,
    uniform_of_linear,
)

N, DEPTH = 12, 5


class Given:
    """Draws from a list of weights, so that a registered network gets the same ones."""

    def __init__(self, weights: list[Tensor]) -> None:
        self.weights = list(weights)

    def __call__(self, generator: torch.Generator, networks: int, n: int) -> Tensor:
        return self.weights.pop(0)[None]


def deep_mlp(weights: list[Tensor], **options: object) -> nn.Module:
    """The registered network with the given weights in its hidden layers and no biases."""
    architecture = DeepMLP()
    given = resolve(architecture.options, {"width": N, "depth": len(weights), **options}, "x")
    module = architecture.build(given, Shape("classification", (N,), (3,)))
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)][:-1]
    with torch.no_grad():
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight.copy_(weight)
            layer.bias.zero_()
    assert isinstance(module, nn.Sequential)
    return module[:-1]  # without the output layer


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
def test_f1_the_jacobian_is_that_of_the_registered_network(gain: float) -> None:
    found = squared_jacobians(generator(5), 1, N, DEPTH)
    stream = generator(5)
    x = torch.randn(1, N, 1, generator=stream)[0, :, 0]
    weights = [gain * orthogonal(stream, 1, N)[0] for _ in range(DEPTH)]
    module = deep_mlp(weights)
    j = torch.autograd.functional.jacobian(lambda x: module(x[None])[0], x)  # type: ignore[no-untyped-call]
    series = 0 if gain == 1 else 1
    assert found[series, -1, 0] == pytest.approx(float(j.square().sum()), rel=1e-4)
    assert found[2, :, 0] == pytest.approx(N, rel=1e-4)


def test_orthogonal_matrices_are_orthogonal_and_turn_both_ways() -> None:
    q = orthogonal(generator(1), 40, 5)
    torch.testing.assert_close(q @ q.mT, torch.eye(5).expand(40, 5, 5), atol=1e-5, rtol=0)
    turns = torch.linalg.det(q).round()
    assert 8 < int((turns > 0).sum()) < 32


def test_f3_the_signals_are_those_of_the_registered_network() -> None:
    stream = generator(2)
    x = torch.randn(1, N, 1, generator=stream)[0, :, 0]
    weights = [torch.randn(N, N, generator=stream) * 0.4 for _ in range(DEPTH)]
    found = mean_squares(Given(weights), generator(2), 1, N, DEPTH)
    with torch.no_grad():
        h = deep_mlp(weights)(x[None])
    assert found[0, 0] == pytest.approx(float(x.square().mean()), rel=1e-5)
    assert found[-1, 0] == pytest.approx(float(h.square().mean()), rel=1e-4)


def test_f3_the_residual_blocks_are_those_of_the_registered_network() -> None:
    """Its first layer, before the blocks, is the identity on positive inputs here."""
    blocks = 3
    found = residual_mean_squares(generator(7), 1, N, blocks)
    stream = generator(7)
    x = torch.randn(1, N, 1, generator=stream)[0, :, 0]
    weights = []
    for _ in range(blocks):
        second, first = (normal(2.0)(stream, 1, N)[0] for _ in range(2))
        weights += [first, second]
    module = deep_mlp([torch.eye(N), *weights], residual="scaled")
    with torch.no_grad():
        h = module[3:](x[None])  # type: ignore[index]
    assert found[-1, 0] == pytest.approx(float(h.square().mean()), rel=1e-4)


def test_the_weights_have_the_declared_variances() -> None:
    for draw, variance in ((normal(2.0), 2 / 50), (normal(1.0), 1 / 50), (uniform_of_linear, 1 / 150)):
        w = draw(generator(3), 20, 50)
        assert float(w.var()) == pytest.approx(variance, rel=0.03)  # 50,000 draws
    layer = nn.Linear(50, 50)
    assert float(uniform_of_linear(generator(3), 1, 50).abs().max()) <= 50**-0.5
    assert float(layer.weight.detach().abs().max()) <= 50**-0.5


def test_a_slope_is_that_of_a_line_and_groups_are_joined() -> None:
    assert slope(3 - 2 * np.arange(5)) == pytest.approx(-2)
    assert in_groups(lambda k: np.full((2, k), k), 37).shape == (2, 37)


def test_f2_positive_weights_grow_by_the_mean_weight() -> None:
    """Weights of almost 1.5 n each row: the growth without spread is ln(1.5 n) from the second layer on."""
    found = growths(generator(0), 4, 256, 4, signed=False, relu=True)
    np.testing.assert_allclose(found[1:], math.log(1.5 * 256), rtol=2e-3)


def test_f2_holds_for_two_seeds() -> None:
    table = measured(F2(), 2)
    assert decided(F2(), table).verdict == "holds"
    extra = table[(table["series"] == "random signs, without ReLU") & table["x"].isna()]
    assert extra["value"].between(0.99, 1.01).all()
    draws(F2(), table)


def test_f1_holds_for_a_seed_at_width_64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wide networks take long; their parts count as not measured here."""
    monkeypatch.setattr(jacobian, "WIDTHS", (64,))
    table = measured(F1())
    parts = [part for part in decided(F1(), table).parts if "n = 64" in part.name]
    assert len(parts) == 6
    assert all(part.verdict == "holds" for part in parts)


def test_f3_gives_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol on 4 networks; not the verdict."""
    monkeypatch.setattr(activations, "NETWORKS", 4)
    table = measured(F3(), 2)
    assert not any(part.lost for part in decided(F3(), table).parts)
    draws(F3(), table)
