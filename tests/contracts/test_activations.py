from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts.activations import activations, is_activation


class Square(nn.Module):
    is_activation = True

    def forward(self, h: Tensor) -> Tensor:
        return h.square()


def test_what_goes_in_and_out_is_seen_in_order_with_its_graph() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), Square(), nn.Linear(4, 1))
    x = torch.randn(5, 3)
    with activations(net) as seen:
        output = net(x)
    assert [one.layer for one in seen] == ["1", "3"]
    assert torch.equal(seen[0].before, net[0](x))
    assert torch.equal(seen[0].after, seen[0].before.tanh())
    assert torch.equal(seen[1].after, seen[1].before.square())
    (gradient,) = torch.autograd.grad(output.sum(), seen[1].before)
    torch.testing.assert_close(gradient, net[4].weight * 2 * seen[1].before)


def test_every_pass_and_every_call_adds_its_own() -> None:
    shared = nn.ReLU()
    net = nn.Sequential(nn.Linear(3, 3), shared, nn.Linear(3, 3), shared)
    with activations(net) as seen:
        net(torch.randn(2, 3))
        net(torch.randn(2, 3))
    assert [one.layer for one in seen] == ["1"] * 4


def test_hooks_are_gone_afterwards_also_after_an_exception() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with pytest.raises(KeyError), activations(net) as seen:
        raise KeyError
    net(torch.randn(2, 3))
    assert seen == []


def test_torchs_elementwise_activations_are_seen_and_nothing_else() -> None:
    assert all(map(is_activation, (nn.ReLU(), nn.PReLU(), nn.SELU(), nn.Mish(), nn.ReLU6(), nn.Hardtanh(), nn.GELU())))
    others = (nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Softmax(1), nn.GLU(), nn.Dropout(), nn.Identity())
    assert not any(map(is_activation, others))


def test_what_goes_into_an_activation_in_place_is_kept() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # one start in two thousand has nothing below zero
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1))
        x = torch.randn(5, 3)
    with activations(net) as seen:
        output = net(x)
    assert torch.equal(seen[0].before, net[0](x))
    assert (seen[0].before < 0).any()
    assert torch.equal(seen[0].after, seen[0].before.clamp(min=0))
    output.sum().backward()


def test_an_activation_called_with_a_keyword_is_seen() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.act(input=x)
            return out

    with activations(net := Net()) as seen:
        net(torch.ones(2, 3))
    assert torch.equal(seen[0].before, torch.ones(2, 3))
