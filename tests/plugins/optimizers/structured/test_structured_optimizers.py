"""Muon, Shampoo and SOAP against their papers' algorithms written out in NumPy, on a network with matrices."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from thalweg.contracts import BuildContext, Draw, StepReport
from thalweg.contracts.losses import SquaredError
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.errors import Diverged
from thalweg.registry import Registry
from thalweg.testing.small import Workbench
from thalweg_plugins.optimizers.structured._muon_stepper import hidden_matrices

Array = NDArray[np.float64]
Arrays = dict[str, Array]
Gradient = Callable[[Arrays], Arrays]
WIDTHS = (4, 5, 6, 5)
"""Gradients have full rank on one side and one less on the other, so that eigenbases are unique but for signs."""
EXAMPLES = 20


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """4-5-6-5 with tanh."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i, o in pairwise(WIDTHS):
        layers += [nn.Linear(i, o), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def examples() -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    return random.standard_normal((EXAMPLES, WIDTHS[0])), random.standard_normal((EXAMPLES, WIDTHS[-1]))


def gradient(weights: Arrays) -> Arrays:
    """The gradient of 1/2 mean ||z - y||^2, by hand."""
    x, y = examples()
    activations = [x]
    for layer in (0, 2, 4):
        z = activations[-1] @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        activations.append(np.tanh(z) if layer < 4 else z)
    found: Arrays = {}
    delta = (activations[-1] - y) / EXAMPLES
    for index, layer in ((2, 4), (1, 2), (0, 0)):
        found[f"{layer}.weight"], found[f"{layer}.bias"] = delta.T @ activations[index], delta.sum(0)
        delta = delta @ weights[f"{layer}.weight"] * (1 - activations[index] ** 2)
    return found


def train(
    registry: Registry, name: str, steps: int, module: nn.Module, inputs: torch.Tensor | None = None, **given: Any
) -> tuple[Objective, StepReport]:
    x, y = (torch.from_numpy(array) for array in examples())
    dtype = next(module.parameters()).dtype
    problem = Supervised({"train": ((x if inputs is None else inputs).to(dtype), y.to(dtype))}, SquaredError(), (LOSS,))
    optimizer = registry.optimizer(name)
    stepper = optimizer.build(module, resolve(optimizer.options, given, name), BuildContext(0, EXAMPLES, EXAMPLES))
    draw = Draw(0, None)
    objective = Objective(module, problem, draw)
    for step in range(steps):
        objective.begin_step(problem.batch("train", step, draw), step)
        report = stepper.step(objective)
    return objective, report


def as_arrays(module: nn.Module) -> Arrays:
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


def power(factor: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(factor)
    root: Array = vectors @ np.diag(values**exponent) @ vectors.T
    return root


def shampoo(w: Arrays, steps: int, h: dict[str, Any]) -> Arrays:
    left = {k: h["eps"] * np.eye(a.shape[0]) for k, a in w.items()}
    right = {k: h["eps"] * np.eye(a.shape[1]) for k, a in w.items() if a.ndim == 2}
    momentum = {k: np.zeros_like(a) for k, a in w.items()}
    roots: dict[str, tuple[Array, Array]] = {}
    for t in range(1, steps + 1):
        for k, g in gradient(w).items():
            momentum[k] = h["momentum"] * momentum[k] + g
            left[k] += np.outer(g, g) if g.ndim == 1 else g @ g.T
            if g.ndim == 2:
                right[k] += g.T @ g
            if t <= h["interval"] or t % h["interval"] == 0:
                roots[k] = (
                    (power(left[k], -0.5), np.eye(1))
                    if g.ndim == 1
                    else (power(left[k], -0.25), power(right[k], -0.25))
                )
            direction = roots[k][0] @ momentum[k]
            w[k] = w[k] - h["lr"] * (direction if g.ndim == 1 else direction @ roots[k][1])
    return w


@pytest.mark.parametrize("interval", [1, 7])
def test_shampoo_is_the_papers_algorithm(registry: Registry, interval: int) -> None:
    module = network()
    given = {"lr": 0.03, "momentum": 0.9, "eps": 0.01, "interval": interval}
    expected = shampoo(as_arrays(module), 100, given)
    objective, _ = train(registry, "shampoo", 100, module, **given)
    for name, found in as_arrays(module).items():
        # 100 steps; roots of factors of condition number up to 1e3 lose a digit or two
        np.testing.assert_allclose(found, expected[name], rtol=1e-11, atol=1e-11)
    decompositions = 100 if interval == 1 else 7 + len(range(14, 101, 7))
    assert objective.counts.factor_inversions == 9 * decompositions


def soap(w: Arrays, steps: int, h: dict[str, Any]) -> Arrays:
    m, v = ({k: np.zeros_like(a) for k, a in w.items()} for _ in range(2))
    factors = {k: (np.zeros((a.shape[0],) * 2), np.zeros((a.shape[1],) * 2)) for k, a in w.items() if a.ndim == 2}
    bases: dict[str, tuple[Array, Array]] = {}
    b1, b2 = h["beta1"], h["beta2"]
    for t in range(steps):
        for k, g in gradient(w).items():
            if t > 0:
                q_l, q_r = bases.get(k, (np.eye(len(g)), np.eye(g.shape[-1])))
                rotated = q_l.T @ g @ q_r if g.ndim == 2 else g
                m[k] = b1 * m[k] + (1 - b1) * g
                v[k] = b2 * v[k] + (1 - b2) * rotated**2
                m_rotated = q_l.T @ m[k] @ q_r if g.ndim == 2 else m[k]
                n = m_rotated / (1 - b1**t) / (np.sqrt(v[k] / (1 - b2**t)) + h["eps"])
                w[k] = w[k] - h["lr"] * (q_l @ n @ q_r.T if g.ndim == 2 else n)
            if g.ndim == 2:
                left, right = factors[k]
                factors[k] = left, right = b2 * left + (1 - b2) * g @ g.T, b2 * right + (1 - b2) * g.T @ g
                if t == 0:
                    bases[k] = (np.linalg.eigh(left)[1][:, ::-1], np.linalg.eigh(right)[1][:, ::-1])
                elif t % h["interval"] == 0:
                    bases[k] = (np.linalg.qr(left @ bases[k][0])[0], np.linalg.qr(right @ bases[k][1])[0])
    return w


@pytest.mark.parametrize("interval", [1, 7])
def test_soap_is_the_papers_algorithm(registry: Registry, interval: int) -> None:
    module = network()
    given = {"lr": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-3, "interval": interval}
    expected = soap(as_arrays(module), 100, given)
    objective, _ = train(registry, "soap", 100, module, **given)
    for name, found in as_arrays(module).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-11, atol=1e-11)
    assert objective.counts.factor_inversions == 6 * len(range(0, 100, interval))


def newton_schulz(g: Array) -> Array:
    """Five steps of the quintic iteration of Jordan et al., on the wide form of a matrix."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / max(float(np.linalg.norm(x)), 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def muon(w: Arrays, steps: int, h: dict[str, Any]) -> Arrays:
    m, v = ({k: np.zeros_like(a) for k, a in w.items()} for _ in range(2))
    for t in range(1, steps + 1):
        for k, g in gradient(w).items():
            if k == "2.weight":
                m[k] = h["momentum"] * m[k] + (1 - h["momentum"]) * g
                o = newton_schulz((1 - h["momentum"]) * g + h["momentum"] * m[k])
                scale = np.sqrt(max(1, g.shape[0] / g.shape[1]))
                w[k] = (1 - h["lr"] * h["weight_decay"]) * w[k] - h["lr"] * scale * o
            else:
                m[k] = h["adamw_beta1"] * m[k] + (1 - h["adamw_beta1"]) * g
                v[k] = h["adamw_beta2"] * v[k] + (1 - h["adamw_beta2"]) * g**2
                m_hat, v_hat = m[k] / (1 - h["adamw_beta1"] ** t), v[k] / (1 - h["adamw_beta2"] ** t)
                decayed = (1 - h["adamw_lr"] * h["adamw_weight_decay"]) * w[k]
                w[k] = decayed - h["adamw_lr"] * m_hat / (np.sqrt(v_hat) + h["adamw_eps"])
    return w


def test_muon_orthogonalises_the_hidden_matrix_and_leaves_the_rest_to_adamw(registry: Registry) -> None:
    optimizer = registry.optimizer("muon")
    given = {"lr": 0.01, "weight_decay": 0.1, "adamw_lr": 0.002, "adamw_weight_decay": 0.2, "adamw_eps": 1e-3}
    values = resolve(optimizer.options, given, "x")
    module = network()
    start = as_arrays(module)
    expected = muon(as_arrays(module), 20, values)
    _, report = train(registry, "muon", 20, module, **given)
    for name, found in as_arrays(module).items():
        # Newton-Schulz is in bfloat16, of three digits
        assert np.abs(found - expected[name]).max() < 1e-2 * np.abs(expected[name] - start[name]).max()
    assert report.info == {"muon_matrices": 1.0}


@pytest.mark.parametrize("name", ["muon", "shampoo", "soap"])
def test_a_convolution_is_the_matrix_that_it_is(registry: Registry, name: str) -> None:
    """A kernel as large as its input is a linear layer, so both train alike."""

    class AsImages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.first = nn.Linear(6, 6)
            self.middle = nn.Conv2d(2, 6, (1, 3))
            self.last = nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.middle(torch.tanh(self.first(x)).view(-1, 2, 1, 3)).flatten(1)
            outputs: torch.Tensor = self.last(torch.tanh(h))
            return outputs

    images = AsImages().double()
    rows = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    with torch.no_grad():
        for linear, layer in zip(list(rows)[::2], (images.first, images.middle, images.last), strict=True):
            linear.weight.copy_(layer.weight.flatten(1))
            linear.bias.copy_(layer.bias)
    inputs = torch.randn(EXAMPLES, 6)
    train(registry, name, 20, images, inputs)
    train(registry, name, 20, rows, inputs)
    for a, b in zip(images.parameters(), rows.parameters(), strict=True):
        # rounding differs between a convolution and a product; bfloat16 makes more of it, and so does Adam of a small v
        tolerance = {"muon": 1e-2, "shampoo": 1e-10, "soap": 1e-7}[name]
        torch.testing.assert_close(a.flatten(1) if a.ndim > 1 else a, b, rtol=tolerance, atol=tolerance)


def test_muon_takes_the_matrices_between_input_and_output(registry: Registry) -> None:
    assert [tuple(matrix.shape) for matrix in hidden_matrices(network())] == [(6, 5)]
    tied = nn.ModuleList([nn.Embedding(7, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 7)])
    tied[4].weight = tied[0].weight
    assert hidden_matrices(tied) == [tied[1].weight, tied[3].weight]
    without_output = nn.ModuleList([nn.Embedding(7, 4), nn.Linear(4, 4), nn.LayerNorm(4)])
    assert hidden_matrices(without_output) == [without_output[1].weight]
    two_embeddings = nn.ModuleList([nn.Embedding(7, 4), nn.Linear(4, 4), nn.Embedding(9, 4), nn.Linear(4, 7)])
    assert hidden_matrices(two_embeddings) == [two_embeddings[1].weight]
    assert hidden_matrices(nn.Sequential(nn.Linear(4, 3))) == []


def test_muon_without_a_hidden_matrix_is_adamw(registry: Registry) -> None:
    ours, theirs = Workbench(registry, "muon"), Workbench(registry, "adamw")
    for bench, given in ((ours, {"adamw_lr": 0.01}), (theirs, {"lr": 0.01, "beta2": 0.95, "weight_decay": 0.0})):
        values = resolve(bench.optimizer.options, given, "x")
        bench.stepper = bench.optimizer.build(bench.module, values, BuildContext(0, 64, 16))
        bench.steps(0, 5)
    for a, b in zip(ours.weights(), theirs.weights(), strict=True):
        assert torch.equal(a, b)


def test_setting_muons_lr_scales_that_of_adamw(registry: Registry) -> None:
    module = network()
    optimizer = registry.optimizer("muon")
    stepper: Any = optimizer.build(module, resolve(optimizer.options, {}, "x"), BuildContext(0, 20, 20))
    stepper.lr = 0.002
    assert [o.param_groups[0]["lr"] for o in stepper.optimizers] == [0.002, pytest.approx(1e-4)]
    assert stepper.lr == 0.002


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_copy_of_module_and_stepper_steps_as_the_original(
    registry: Registry, memory_format: torch.memory_format
) -> None:
    """Probes work on copies: the matrices that a convolution is seen as must follow the copied weights."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(3 * 4 * 4, 3))
    module = module.to(memory_format=memory_format)  # type: ignore[call-overload]
    optimizer = registry.optimizer("muon")
    stepper = optimizer.build(module, resolve(optimizer.options, {}, "x"), BuildContext(0, 20, 20))
    problem = Supervised({"train": (torch.randn(20, 1, 8, 8), torch.randn(20, 3))}, SquaredError(), (LOSS,))
    draw = Draw(0, None)
    for _ in range(2):
        copied = copy.deepcopy((module, stepper))
        before = [p.detach().clone() for p in module.parameters()]
        for net, step in ((module, stepper), copied):
            objective = Objective(net, problem, draw)
            objective.begin_step(problem.batch("train", 0, draw), 0)
            step.step(objective)
        for a, b, old in zip(module.parameters(), copied[0].parameters(), before, strict=True):
            assert torch.equal(a, b)
            assert not torch.equal(a, old)


def test_a_side_that_is_too_long_has_no_factor(registry: Registry) -> None:
    """With max_size 4 the matrix (5, 4) has R^-1/2 alone; (6, 5) has no factor and is diagonal AdaGrad's."""
    module = network()
    start = as_arrays(module)
    g = gradient(start)
    train(registry, "shampoo", 1, module, lr=0.01, eps=0.01, max_size=4)
    found = as_arrays(module)
    first, hidden = g["0.weight"], g["2.weight"]
    one_sided = first @ power(0.01 * np.eye(4) + first.T @ first, -0.5)
    np.testing.assert_allclose(found["0.weight"], start["0.weight"] - 0.01 * one_sided, rtol=1e-12)
    diagonal = hidden / np.sqrt(0.01 + hidden**2)
    np.testing.assert_allclose(found["2.weight"], start["2.weight"] - 0.01 * diagonal, rtol=1e-12)


@pytest.mark.parametrize("name", ["shampoo", "soap"])
def test_a_factor_that_is_not_finite_names_its_parameter(registry: Registry, name: str) -> None:
    module = network()
    with torch.no_grad():
        module[2].bias[0] = torch.nan
    with pytest.raises(Diverged, match=r"a factor of 0\.(weight|bias) is not finite"):
        train(registry, name, 1, module)


@pytest.mark.parametrize("name", ["shampoo", "soap"])
def test_vectors_numbers_and_tensors_of_many_dimensions_train(registry: Registry, name: str) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.scale = nn.Parameter(torch.tensor(1.0))
            self.tensor = nn.Parameter(torch.randn(1, 4, 1, 5))
            self.unused = nn.Parameter(torch.randn(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * x @ self.tensor.view(4, 5)

    module = Odd().double()
    before = as_arrays(module)
    train(registry, name, 5, module)
    after = as_arrays(module)
    assert (after["scale"] != before["scale"]).all()
    assert (after["tensor"] != before["tensor"]).all()
    assert (after["unused"] == before["unused"]).all()
