"""Curvature of networks with complex, computed, frozen or scattered weights, against dense matrices by torch.func."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts import BuildContext, Draw
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.curvature import GGN, EmpiricalFisher, Fisher, Hessian, flat, linear_operator, pieces
from thalweg.errors import UserError
from thalweg.registry import Registry
from unusual import EXAMPLES, KINDS, built, data, numbers, put

every_kind = pytest.mark.parametrize("kind", KINDS)


def objective(module: nn.Module) -> Objective:
    problem, draw = data(), Draw(0, None)
    made = Objective(module, problem, draw, advances_buffers=False)
    made.begin_step(problem.batch("train", 0, draw), 0)
    return made


def outputs_of(module: nn.Module, at: Tensor) -> Callable[[Tensor], Tensor]:
    """The outputs as a function of the trained parameters' real numbers, and never of anything else."""
    x = data().data["train"][0]

    def outputs(vector: Tensor) -> Tensor:
        weights, first = {}, 0
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            last = first + parameter.numel() * (2 if parameter.is_complex() else 1)
            piece = vector[first:last]
            if parameter.is_complex():
                piece = torch.complex(piece[0::2], piece[1::2])
            weights[name] = piece.reshape(parameter.shape)
            first = last
        assert first == len(at)
        return torch.func.functional_call(module, weights, (x,))

    return outputs


def normalised(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Weight normalisation of rows, in place of torch's kernel, whose second derivatives are wrong."""
    assert dim == 0
    return g * v / v.square().sum(1, keepdim=True).sqrt()


@every_kind
def test_every_matrix_is_that_of_the_real_numbers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = built(kind).eval()
    it = objective(module)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    at = numbers(trained)
    outputs = outputs_of(module, at)
    loss, targets = CrossEntropy(), it.targets
    hessian, given = Hessian(it), it.outputs()
    torch.testing.assert_close(flat(it.parameters).detach(), at, rtol=0, atol=0)
    # all: some hundred operations in float64, in another order
    close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}
    monkeypatch.setattr(torch, "_weight_norm", normalised)
    monkeypatch.setattr(sys.modules["torch.nn.utils.weight_norm"], "_weight_norm", normalised)
    torch.testing.assert_close(outputs(at), given, rtol=1e-12, atol=1e-14)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        dense = torch.autograd.functional.hessian(lambda w: loss.mean(outputs(w), targets), at)
        gradient = torch.autograd.functional.jacobian(lambda w: loss.mean(outputs(w), targets), at)
        each = torch.autograd.functional.jacobian(lambda w: loss.per_example(outputs(w), targets), at)
        jacobian = torch.autograd.functional.jacobian(outputs, at)
    torch.testing.assert_close(hessian.dense(), dense, **close)
    torch.testing.assert_close(hessian.gradient, gradient, **close)
    p = outputs(at).softmax(1).detach()
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    ggn = torch.einsum("nap,nab,nbq->pq", jacobian, middle, jacobian) / EXAMPLES
    for make in (GGN, Fisher):
        torch.testing.assert_close(make(it).dense(), ggn, **close)
    torch.testing.assert_close(EmpiricalFisher(it).dense(), each.T @ each / EXAMPLES, **close)
    v = torch.randn(len(at), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(torch.from_numpy(linear_operator(hessian) @ v.numpy()), dense @ v, **close)


def test_products_that_cannot_be_batched_are_made_one_by_one() -> None:
    """Torch's rule for group norm fails on vectors without positions."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    hessian = Hessian(objective(module))
    dense = hessian.dense()
    by_columns = torch.stack([hessian @ row for row in torch.eye(hessian.size, dtype=torch.float64)])
    torch.testing.assert_close(dense, by_columns, rtol=1e-10, atol=1e-13)


@every_kind
def test_a_vector_cut_into_pieces_is_the_parameters_again(kind: str) -> None:
    parameters = list(built(kind).parameters())
    for piece, parameter in zip(pieces(flat(parameters), parameters), parameters, strict=True):
        assert torch.equal(piece, parameter)


@pytest.mark.parametrize("kind", ["complex", "frozen", "vectors", "transposed", "attends", "pruned"])
def test_newtons_step_solves_the_dense_system(registry: Registry, kind: str) -> None:
    """One damped Gauss-Newton step by conjugate gradients to the end, against a dense solution."""
    module = built(kind).train()
    it, optimizer = objective(module), registry.optimizer("natural-gradient")
    before = flat(it.parameters).detach().clone()
    expected = -torch.linalg.solve(
        Fisher(it).dense() + 0.1 * torch.eye(len(before), dtype=torch.float64), flat(it.gradient()[1])
    )
    options = resolve(optimizer.options, {"damping": 0.1, "lr": 1.0, "kl": 0.0}, optimizer.name)
    optimizer.build(module, options, BuildContext(0, EXAMPLES, EXAMPLES)).step(it)
    torch.testing.assert_close(flat(it.parameters).detach() - before, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["shampoo", "soap"])
def test_a_complex_matrix_is_stepped_as_a_real_one_of_twice_the_width(registry: Registry, name: str) -> None:
    class Real(nn.Module):
        """The same network of real numbers: parts of complex ones next to each other."""

        def __init__(self, weight: Tensor) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.view_as_real(weight.detach()).flatten(1).clone())

        def forward(self, x: Tensor) -> Tensor:
            parts = self.weight.view(len(self.weight), -1, 2)
            return x @ parts[..., 0].T - torch.sin(x) @ parts[..., 1].T

    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.weight = nn.Parameter(torch.randn(3, 6, dtype=torch.complex128))

        def forward(self, x: Tensor) -> Tensor:
            return (torch.complex(x, torch.sin(x)) @ self.weight.T).real

    wide = Complex()
    narrow = Real(wide.weight)
    optimizer = registry.optimizer(name)
    for module in (wide, narrow):
        # a factor of the left side alone: that of the wide one has a null space, whose basis is up to rounding
        options = resolve(optimizer.options, {"max_size": 4}, name)
        stepper = optimizer.build(module, options, BuildContext(0, EXAMPLES, EXAMPLES))
        it = objective(module)
        for step in range(12):
            it.begin_step(it.batch, step)
            stepper.step(it)
    torch.testing.assert_close(numbers([wide.weight]), numbers([narrow.weight]), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", ["pruned", "weight-norm-by-hook"])
def test_kfac_names_a_weight_that_is_computed(registry: Registry, kind: str) -> None:
    optimizer = registry.optimizer("kfac")
    with pytest.raises(UserError, match=r"kfac: \d\.weight is computed from other parameters"):
        optimizer.build(built(kind), resolve(optimizer.options, {}, "kfac"), BuildContext(0, EXAMPLES, EXAMPLES))


def test_kfac_leaves_complex_weights_to_gradient_steps(registry: Registry) -> None:
    module, optimizer = built("complex"), registry.optimizer("kfac")
    it = objective(module)
    stepper = optimizer.build(module, resolve(optimizer.options, {}, "kfac"), BuildContext(0, EXAMPLES, EXAMPLES))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    gradients = dict(zip(before, it.gradient()[1], strict=True))
    stepper.step(it)
    for name in ("f", "mixes", "turn"):
        after = dict(module.named_parameters())[name]
        torch.testing.assert_close(after.detach(), before[name] - 0.01 * gradients[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("kind", "expected"), [("pruned", 0), ("frozen", 0), ("plain", 0)])
def test_muon_counts_the_matrices_that_it_moves(registry: Registry, kind: str, expected: int) -> None:
    module, optimizer = built(kind), registry.optimizer("muon")
    stepper = optimizer.build(module, resolve(optimizer.options, {}, "muon"), BuildContext(0, EXAMPLES, EXAMPLES))
    assert stepper.step(objective(module)).info["muon_matrices"] == expected


def test_muon_moves_what_it_counts(registry: Registry) -> None:
    """Of four layers one is pruned: its weights go to AdamW, and the hidden one beside it to Muon."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 3))
    torch.nn.utils.prune.random_unstructured(module[2], "weight", 0.5)
    module.double()
    module(data().data["train"][0])
    optimizer = registry.optimizer("muon")
    options = resolve(optimizer.options, {"lr": 0.1, "adamw_lr": 1e-3}, "muon")
    stepper = optimizer.build(module, options, BuildContext(0, EXAMPLES, EXAMPLES))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    assert stepper.step(objective(module)).info["muon_matrices"] == 1
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in module.named_parameters()}
    # AdamW's first step moves no number by more than its rate; Muon's matrix has length lr sqrt(5) or so
    assert moved.pop("4.weight") > 5e-3
    assert moved["2.weight_orig"] > 0
    assert max(moved.values()) < 1.1e-3


def test_what_is_put_in_by_hand_is_what_is_read() -> None:
    module = built("complex")
    vector = torch.arange(len(flat(module.parameters())), dtype=torch.float64)
    put(module, vector)
    assert torch.equal(flat(module.parameters()).detach(), vector)
