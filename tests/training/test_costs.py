"""Costs of networks, against counts by hand and against torch's own counter of what autograd computes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from thalweg.contracts import Draw
from thalweg.contracts.costs import DECLARED, Costs, Counts
from thalweg.contracts.derivatives import math_attention
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.training.costs import _counted, _moved, costs_of
from thalweg.training.flops import Flops


def problem(*shape: int) -> Supervised:
    return Supervised({"train": (torch.randn(6, *shape), torch.arange(6) % 3)}, CrossEntropy(), CLASSIFICATION)


def mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Attends(nn.Module):
    """A transformer's layer, whose attention has products of two matrices that depend on the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(x).mean(1))
        return out


class Recurs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.lstm(x)[0][:, -1])
        return out


def images() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 3 * 3, 3),
    )


def test_a_dense_network_costs_what_a_count_by_hand_says() -> None:
    """64-64-64-10, in multiplications with an addition, each of which torch counts as two operations."""
    first, rest = 64 * 64, 64 * 64 + 64 * 10
    forward = first + rest
    # back: the gradient of each weight, and of each layer's input but the first
    backward = forward + rest
    # J v: W da and dW a in each layer, but dW a alone in the first, whose input stays
    jvp = first + 2 * rest
    # H v goes as J v forwards; then back W'dd + dW'd in each layer but the first, and dd a' + d da', where da is zero
    # in the first layer
    hvp = jvp + first + 4 * rest
    found = costs_of(mlp(64, 64, 64, 10), problem(64))
    assert astuple(found)[:6] == tuple(
        2.0 * cost for cost in (forward, forward + backward, jvp, backward, hvp, jvp + backward)
    )
    assert found.source == "counted"
    assert round(found.forward / found.gradient, 2) == 0.39
    assert round(found.hvp / found.gradient, 2) == 1.63
    assert round(found.ggnvp / found.gradient, 2) == 1.21
    assert round(found.jvp / found.gradient, 2) == round(found.vjp / found.gradient, 2) == 0.61
    # K-FAC's factors of inputs with a one, and of gradients in outputs, which work leaves out
    assert round((3 * 65**2 + 2 * 64**2 + 10**2) / (forward + backward), 2) == 0.94


def test_a_convolutional_network_costs_what_a_count_by_hand_says() -> None:
    first, second, head = 8 * 8 * 4 * 3 * 9, 3 * 3 * 5 * 4 * 9, 45 * 3
    rest = second + head
    found = costs_of(images(), problem(3, 8, 8))
    assert found.forward == 2 * (first + rest)
    assert found.gradient == 2 * (2 * first + 3 * rest)
    assert found.jvp == found.vjp == 2 * (first + 2 * rest)
    assert found.hvp == 2 * (2 * first + 6 * rest)


NETWORKS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: mlp(7, 5, 3), (7,)),
    (lambda: mlp(7, 3), (7,)),
    (images, (3, 8, 8)),
    (Attends, (4, 8)),
    (Recurs, (4, 8)),
]


@pytest.fixture
def plain_kernels() -> Iterator[None]:
    """Kernels whose operations torch's counter knows."""
    with torch.backends.mkldnn.flags(enabled=False), math_attention():
        yield


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize(("build", "shape"), NETWORKS)
def test_costs_are_what_torch_counts_of_autograd(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """Except products of convolutions: torch's double backward of a convolution computes more than it is asked for."""
    module, it = build(), problem(*shape)
    found = costs_of(module, it)
    x, y = torch.randn(2, *shape), torch.tensor([0, 1])
    parameters = list(module.parameters())

    def operations(evaluate: Callable[[], object]) -> float:
        with FlopCounterMode(display=False) as counter:
            evaluate()
        return counter.get_total_flops() / 2

    def loss() -> Tensor:
        return nn.functional.cross_entropy(module(x), y)

    def gradient() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(), parameters)

    assert found.forward == operations(loss)
    assert found.gradient == operations(gradient)
    if build is images:
        return
    outputs = module(x)
    u = torch.zeros_like(outputs, requires_grad=True)
    transposed = torch.autograd.grad(outputs, parameters, u, create_graph=True)
    assert found.vjp == operations(lambda: torch.autograd.grad(outputs, parameters, u, retain_graph=True))
    ones = [torch.ones_like(parameter) for parameter in parameters]
    # J v is the derivative of J'u along v
    assert found.jvp == operations(lambda: torch.autograd.grad(transposed, u, ones, retain_graph=True))
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    assert found.hvp == operations(lambda: torch.autograd.grad(gradients, parameters, ones))


@pytest.mark.parametrize(("build", "shape"), NETWORKS)
def test_a_network_without_content_costs_as_much(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    module, it = build(), problem(*shape)
    batch = it.batch("train", 0, Draw(0, 2))
    assert _counted(module, it, batch, ("meta",)) == _counted(module, it, batch, ("cpu",))


def test_frozen_layers_have_no_derivatives() -> None:
    """Two frozen layers, then one with one factor that trains, then one with two."""
    module = mlp(7, 11, 6, 5, 3)
    for layer in (module[0], module[2]):
        layer.requires_grad_(False)
    frozen, one, two = 7 * 11 + 11 * 6, 6 * 5, 5 * 3
    expected = (frozen + one + two, frozen + 2 * one + 3 * two, one + 2 * two, one + 2 * two, 2 * one + 6 * two)
    assert astuple(costs_of(module, problem(7)))[:5] == tuple(2.0 * cost for cost in expected)


def test_what_a_checkpoint_computes_again_costs_nothing() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = mlp(7, 5, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(checkpoint(self.inner, x, use_reentrant=False))
            return out

    plain = costs_of(nn.Sequential(*mlp(7, 5, 6), nn.Linear(6, 3)), problem(7))
    found = costs_of(Checkpointed(), problem(7))
    assert found.forward == plain.forward
    # no more than two products back for each one forwards: the first layer takes only one
    assert plain.gradient <= found.gradient <= 3 * plain.forward


def test_counting_leaves_the_network_as_it_is() -> None:
    module, it = images().eval(), problem(3, 8, 8)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    costs_of(module, it)
    assert not module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_foreign_network_keeps_nothing_of_the_count() -> None:
    class Caches(nn.Module):
        seen: list[torch.device] = []  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(7, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(x.device)
            out: Tensor = self.layer(x)
            return out

    assert costs_of(Caches(), problem(7)).source == "counted"
    assert not Caches.seen


def test_a_network_that_cannot_be_counted_has_declared_costs_and_a_reason() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    found = costs_of(Scales(), problem(3))
    assert astuple(found)[:6] == astuple(DECLARED)[:6]
    assert found.source == "not counted: ValueError: the network has no matrix product, no convolution and no attention"


def test_operations_are_those_of_torchs_counter() -> None:
    module, x = Attends(), torch.randn(2, 4, 8)
    with Flops() as ours:
        module(x).sum().backward()
    with FlopCounterMode(display=False) as theirs:
        module(x).sum().backward()
    assert ours.total == theirs.get_total_flops() > 0


def test_counting_imports_no_compiler() -> None:
    """Which takes longer than a small network trains."""
    program = (
        "import sys; sys.path.insert(0, 'tests/training'); sys.path.insert(0, 'tests')\n"
        "from test_costs import *\n"
        "before = {*sys.modules}\n"
        "assert costs_of(mlp(7, 5, 3), problem(7)).source == 'counted'\n"
        "assert not {'torch._dynamo', 'sympy', 'torch._inductor'} & ({*sys.modules} - before)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_work_is_the_sum_of_costs() -> None:
    costs = Costs.of_products(forward=3, gradient=8)  # one factor: 1; two factors: 2
    assert (costs.jvp, costs.hvp, costs.ggnvp) == (5, 14, 10)
    counts = Counts(examples=8, backward=8)
    assert costs.work(counts) == 8
    counts.jvp, counts.vjp, counts.hvp, counts.ggnvp = 2, 3, 5, 7
    assert costs.work(counts) == 8 + (2 * 5 + 3 * 5 + 5 * 14 + 7 * 10) / 8
    for n in (1, 7, 32, 1437, 10**9):
        assert DECLARED.work(Counts(examples=n, backward=n)) == n


@pytest.mark.parametrize(
    ("costs", "says"),
    [
        ({"forward": 4, "gradient": 3}, "no smaller than forward = 4"),
        ({"gradient": 0, "forward": 0}, "must be above zero"),
        ({"hvp": float("nan")}, "hvp = nan is no cost"),
        ({"jvp": -1}, "jvp = -1 is no cost"),
    ],
)
def test_impossible_costs_are_refused(costs: dict[str, Any], says: str) -> None:
    good = {"forward": 1, "gradient": 3, "jvp": 2, "vjp": 2, "hvp": 6, "ggnvp": 4}
    with pytest.raises(ValueError, match=says):
        Costs(**(good | costs))


def test_a_copy_without_content_shares_tied_weights() -> None:
    module = mlp(5, 5, 5)
    module[2].weight = module[0].weight
    moved = _moved(module, "meta")
    assert moved[2].weight is moved[0].weight  # type: ignore[index]
    assert {p.device.type for p in moved.parameters()} == {"meta"}
