"""Stacked members train as they train alone, with equal or different hyperparameters."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.contracts import BuildContext, Draw, Hyperparameter, Optimizer
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.registry import Registry, load_registry
from thalweg.testing.small import same
from thalweg.training.stacked.elementwise import Network, Regression, compare
from thalweg_plugins.optimizers import FIRST_ORDER

ELEMENTWISE = [optimizer.name for optimizer in FIRST_ORDER if optimizer.elementwise]
CONTEXT = BuildContext(0, 64, 16)


def drawn(option: Hyperparameter, random: np.random.Generator) -> Any:
    """A value of a hyperparameter that is neither at an end of its range nor anybody else's."""
    if option.name == "lr":
        return option.default * random.uniform(0.3, 1.0)
    if option.name in ("weight_decay", "momentum_decay"):
        return random.uniform(0.01, 0.2)
    if option.kind == "int":
        return int(random.integers(2, 12))
    if option.allowed in ("[0, 1)", "(0, 1)"):
        return random.uniform(0.5, 0.99)
    return random.uniform(1e-4, 1e-2)


def different(options: tuple[Hyperparameter, ...], members: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [resolve(options, {o.name: drawn(o, random) for o in options}, "x") for _ in range(members)]


def test_every_first_order_method_without_matrices_is_elementwise() -> None:
    assert {o.name for o in FIRST_ORDER} - set(ELEMENTWISE) == {"muon", "shampoo", "soap"}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_members_of_different_hyperparameters_train_as_each_alone(registry: Registry, name: str) -> None:
    optimizer = registry.optimizer(name)
    members = different(optimizer.options, 4)
    for option in optimizer.options:
        assert len({member[option.name] for member in members}) > 1, option.name
    # 30 steps of a few roundings each
    assert compare(optimizer, members, steps=30, dtype=torch.float64) < 1e-12
    # a few roundings of numbers around 1, before they have steps to grow in
    assert compare(optimizer, members, steps=4, dtype=torch.float32) < 1e-5


@pytest.mark.parametrize("name", ["sgd", "adam", "lion", "schedule-free-adamw"])
def test_members_alike_have_one_learning_rate(registry: Registry, name: str) -> None:
    optimizer = registry.optimizer(name)
    settings = resolve(optimizer.options, {}, name)
    stepper = optimizer.build_stacked(network(3), [settings], CONTEXT)
    stepper.lr = 0.5
    assert stepper.lrs == [0.5]
    one_rule = Optimizer.build_stacked(optimizer, network(3), [settings] * 3, CONTEXT)
    one_rule.lr = 0.5
    assert one_rule.lrs == [0.5] * 3
    with pytest.raises(ValueError, match="share one learning rate"):
        one_rule.lrs = [0.1, 0.2, 0.3]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_learning_rates_of_different_members_are_their_own(registry: Registry, name: str) -> None:
    optimizer = registry.optimizer(name)
    stepper = optimizer.build_stacked(network(3), different(optimizer.options, 3), CONTEXT)
    stepper.lrs = [0.1, 0.2, 0.3]
    assert stepper.lrs == [0.1, 0.2, 0.3]
    assert stepper.lr == 0.1
    stepper.lr = 0.4
    assert stepper.lrs == [0.4, 0.4, 0.4]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_members_continue_bitwise_from_their_state(registry: Registry, name: str) -> None:
    optimizer = registry.optimizer(name)
    members = different(optimizer.options, 3)
    ends = []
    for interrupted in (False, True):
        module, draw = network(3), Draw(0, 16)
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(3, 64, 6, generator=generator), torch.randn(3, 64, 3, generator=generator)
        problem = Regression(*inputs)
        objective = Objective(module, problem, draw)
        stepper = optimizer.build_stacked(module, members, CONTEXT)
        for step in range(6):
            if interrupted and step == 3:
                state = copy.deepcopy(stepper.state_dict())
                stepper = optimizer.build_stacked(module, members, CONTEXT)
                stepper.load_state_dict(state)
            objective.begin_step(problem.batch("train", step, draw), step)
            stepper.step(objective)
        ends.append([parameter.detach().clone() for parameter in module.parameters()])
    assert same(*ends)


def test_a_rule_that_sees_whole_matrices_has_no_stacked_form(registry: Registry) -> None:
    optimizer = registry.optimizer("newton-cg")
    with pytest.raises(NotImplementedError, match="newton-cg is not elementwise"):
        optimizer.build_stacked(network(2), [resolve(optimizer.options, {}, "x")] * 2, CONTEXT)


@pytest.mark.parametrize("cls", [torch.optim.Adamax, torch.optim.RAdam, torch.optim.Adadelta])
def test_a_torch_class_registered_as_elementwise_is_stacked(cls: Any) -> None:
    optimizer = TorchOptimizer(cls, elementwise=True, lr=0.01)
    members = [resolve(optimizer.options, {"lr": lr, "weight_decay": 10 * lr}, "x") for lr in (0.01, 0.003, 0.02)]
    assert compare(optimizer, members, steps=30, dtype=torch.float64) < 1e-12


def test_a_torch_class_is_not_taken_for_elementwise_unasked() -> None:
    optimizer = TorchOptimizer(torch.optim.Adamax)
    with pytest.raises(NotImplementedError):
        optimizer.build_stacked(network(2), [resolve(optimizer.options, {}, "x")] * 2, CONTEXT)


def test_registering_a_torch_class_can_say_that_it_is_elementwise(tmp_path: Any) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import thalweg, torch\n\n@thalweg.hookimpl\ndef thalweg_register_optimizers(register):\n"
        "    register(torch.optim.Adamax, elementwise=True)\n"
    )
    assert load_registry([plugin]).optimizer("adamax").elementwise


def network(members: int) -> Network:
    shapes = {"w1": (6, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}
    return Network({name: torch.ones(members, *shape) for name, shape in shapes.items()})
