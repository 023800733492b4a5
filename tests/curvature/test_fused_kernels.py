"""Curvature of networks with operations whose fused kernels have no second derivative, or a wrong one."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from thalweg.contracts import BuildContext, Draw
from thalweg.contracts.derivatives import WRONG_IN_WEIGHTS, check_differentiable
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import GGN, EmpiricalFisher, Fisher, Hessian, MCFisher, OutputOperator, flat, pieces
from thalweg.registry import Registry

N, T, DIM, CLASSES = 4, 3, 4, 3


class Explicit(nn.Module):
    """softmax(Q K' / sqrt(d)) V of one head, in products."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, CLASSES)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT / math.sqrt(DIM)).softmax(-1) @ v

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.attend(*self.qkv(x).chunk(3, -1)).mean(1))
        return out


class Fused(Explicit):
    """The same by torch's function."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


class Multihead(nn.Module):
    """The module without the attention's weights, which is what a transformer calls."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, 2, batch_first=True)
        self.out = nn.Linear(DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))
        return out


class Encoder(nn.Module):
    """A whole layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(DIM, 2, 5, dropout=0.0, activation="gelu", batch_first=True)
        self.out = nn.Linear(DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.layer(x).mean(1))
        return out


def objective(module: nn.Module) -> Objective:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(N, T, DIM, generator=generator, dtype=torch.float64)
    data, draw = Supervised({"train": (x, torch.arange(N) % CLASSES)}, CrossEntropy(), (LOSS,)), Draw(0, None)
    made = Objective(module, data, draw)
    made.begin_step(data.batch("train", 0, draw), 0)
    return made


def built(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().double()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [Fused, Multihead, Encoder])
def test_the_hessian_is_the_central_difference_of_the_gradient(kind: type[nn.Module], training: bool) -> None:
    it = objective(built(kind).train(training))
    hessian = Hessian(it)
    v = torch.randn(hessian.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, at, gradients = hessian @ v, flat(it.parameters).detach().clone(), []
    h = 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, piece in zip(it.parameters, pieces(at + sign * h * v, it.parameters), strict=True):
                parameter.copy_(piece)
        gradients.append(flat(it.gradient()[1]))
    expected = (gradients[0] - gradients[1]) / (2 * h)
    # h^2 of the fourth derivative, and rounding of the gradient over h: both near 1e-10
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("make", [Hessian, GGN, Fisher, MCFisher, EmpiricalFisher])
def test_every_matrix_of_fused_attention_is_that_of_attention_written_out(make: Any) -> None:
    found, expected = (make(objective(built(kind))).dense() for kind in (Fused, Explicit))
    # the same operations in the same precision, some in another order
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)


def test_training_keeps_the_fused_kernel() -> None:
    it = objective(built(Fused))
    Hessian(it)
    with torch.profiler.profile() as profile:
        it.gradient()
    assert any("flash_attention" in event.key for event in profile.key_averages())


@pytest.mark.parametrize(
    "name",
    ["kfac", "newton", "newton-cg", "gauss-newton-cg", "natural-gradient", "empirical-fisher", "natural-gradient-mc"],
)
def test_second_order_optimizers_step_it_as_attention_written_out(registry: Registry, name: str) -> None:
    moved = []
    for kind in (Fused, Explicit):
        module = built(kind)
        it, optimizer = objective(module), registry.optimizer(name)
        stepper = optimizer.build(module, resolve(optimizer.options, {}, name), BuildContext(0, N, N))
        for step in range(2):
            it.begin_step(it.batch, step)
            stepper.step(it)
        moved.append(flat(it.parameters).detach())
    # two steps of solved linear systems: rounding times their condition numbers
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-6, atol=1e-9)


class Square(torch.autograd.Function):
    """Has a gradient, but no second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        found: Tensor = 2 * g * x
        return found


class Once(nn.Module):
    """Uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(T * DIM, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(Square.apply(self.inner(x.flatten(1))))
        return out


@pytest.mark.parametrize("make", [Hessian, GGN])
@pytest.mark.parametrize("by_hook", [True, False])
def test_weight_normalisation_has_the_second_derivatives_of_its_formula(make: Any, by_hook: bool) -> None:
    """Against finite differences of the gradient, or of the outputs for the GGN."""
    torch.manual_seed(0)
    layer = nn.Linear(T * DIM, CLASSES).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        normed = nn.utils.weight_norm(layer) if by_hook else nn.utils.parametrizations.weight_norm(layer)
    it = objective(nn.Sequential(nn.Flatten(), normed))
    found, at, h = make(it).dense(), flat(it.parameters).detach().clone(), 1e-5
    hessian = torch.zeros_like(found)
    jacobian = torch.zeros(N, CLASSES, len(at), dtype=torch.float64)
    for i in range(len(at)):
        sides = []
        for sign in (1, -1):
            moved = at.clone()
            moved[i] += sign * h
            with torch.no_grad():
                for parameter, piece in zip(it.parameters, pieces(moved, it.parameters), strict=True):
                    parameter.copy_(piece)
            sides.append((flat(it.gradient()[1]), it.outputs().detach()))
        hessian[i] = (sides[0][0] - sides[1][0]) / (2 * h)
        jacobian[:, :, i] = (sides[0][1] - sides[1][1]) / (2 * h)
    with torch.no_grad():
        for parameter, piece in zip(it.parameters, pieces(at, it.parameters), strict=True):
            parameter.copy_(piece)
    p = it.outputs().detach().softmax(1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    ggn = torch.einsum("nap,nab,nbq->pq", jacobian, middle, jacobian) / N
    torch.testing.assert_close(found, hessian if make is Hessian else ggn, rtol=1e-6, atol=1e-8)


def test_a_gradient_through_the_fused_weight_normalisation_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(T * DIM, CLASSES))).double()
    it = objective(net)
    gradients = torch.autograd.grad(it.loss(), it.parameters, create_graph=True)
    with pytest.raises(ValueError, match="second derivatives of weight normalisation are wrong"):
        check_differentiable(gradients, WRONG_IN_WEIGHTS)


@pytest.mark.parametrize("make", [Hessian, GGN])
def test_what_has_no_second_derivative_is_refused(make: type[OutputOperator]) -> None:
    """torch.autograd.grad would return the second derivative of the other parts alone."""
    with pytest.raises(ValueError, match="once_differentiable, so there are no second derivatives"):
        make(objective(built(Once)))
