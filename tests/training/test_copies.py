"""Copies for probes: of the present state, and kept between measurements."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.contracts.torch_stepper import TorchStepper
from thalweg.training.copies import copied_stepper, refreshed


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def changed(module: nn.Sequential) -> None:
    module(torch.randn(8, 3)).sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    module[0].requires_grad_(False)
    module[2].eval()


def same(one: nn.Module, other: nn.Module) -> bool:
    states = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    modes = [part.training for part in one.modules()] == [part.training for part in other.modules()]
    flags = [p.requires_grad for p in one.parameters()] == [p.requires_grad for p in other.parameters()]
    return modes and flags and all(torch.equal(a, b) for a, b in states)


def test_a_copy_is_used_again_with_what_the_module_is_now() -> None:
    module = network()
    made = refreshed(None, module)
    changed(module)
    for parameter in made.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert not same(made, module)
    again = refreshed(made, module)
    assert again is made
    assert same(made, module)
    assert all(parameter.grad is None for parameter in made.parameters())
    assert module[3].weight.grad is not None
    assert not {p.data_ptr() for p in made.parameters()} & {p.data_ptr() for p in module.parameters()}


def test_a_copy_that_was_rebuilt_is_made_anew() -> None:
    def other_shape(made: Any) -> None:
        made[0] = nn.Linear(5, 4)

    def other_kind(made: Any) -> None:
        made[2] = nn.Identity()

    def other_precision(made: Any) -> None:
        made.double()

    module = network()
    for alteration in (other_shape, other_kind, other_precision):
        made = refreshed(None, module)
        alteration(made)
        again = refreshed(made, module)
        assert again is not made
        assert same(again, module)


class Counting(nn.Module):
    """What it computes depends on a number that is no tensor."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.layer, self.state = nn.Linear(3, 3), state


def test_attributes_are_those_of_now() -> None:
    module = Counting(0)
    made = refreshed(None, module)
    module.state = 3
    again = refreshed(made, module)
    assert (again is made, again.state) == (True, 3)
    # what a shallow copy would share is copied whole
    module = Counting({"calls": [0]})
    made = refreshed(None, module)
    module.state["calls"][0] = 3
    again = refreshed(made, module)
    assert again.state == {"calls": [3]}
    assert again.state["calls"] is not module.state["calls"]


@pytest.mark.parametrize("used_before", [False, True])
def test_a_copied_stepper_steps_the_copy(used_before: bool) -> None:
    module = network()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    module(torch.ones(8, 3)).sum().backward()
    optimizer.step()
    made = refreshed(None, module)
    if used_before:
        made = refreshed(made, module)
    stepper = copied_stepper(TorchStepper(optimizer), module, made)
    assert stepper is not None
    before = copy.deepcopy(module.state_dict())
    inside = stepper.optimizer  # type: ignore[attr-defined]
    assert all(p is q for p, q in zip(inside.param_groups[0]["params"], made.parameters(), strict=True))
    for parameter in made.parameters():
        parameter.grad = torch.ones_like(parameter)
    inside.step()
    assert all(torch.equal(before[name], now) for name, now in module.state_dict().items())
    assert not same(made, module)
    step = next(iter(optimizer.state.values()))["step"]
    assert float(step) == 1


def test_a_stepper_that_cannot_be_copied_is_none() -> None:
    module = network()
    stepper = TorchStepper(torch.optim.SGD(module.parameters(), lr=0.1))
    stepper.lock = threading.Lock()  # type: ignore[attr-defined]
    assert copied_stepper(stepper, module, refreshed(None, module)) is None
