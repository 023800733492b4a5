"""Limits of stability and preconditioners against the optimizers themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from second_order import Bench, analytic
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.registry import Registry

CURVATURE = 3.0
ADAPTIVE = {"adam", "amsgrad", "adamw", "adam-lecture", "rmsprop", "adagrad"}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.5}),
    ("momentum", {"momentum": 0.9}),
    ("momentum", {"momentum": 0.3, "weight_decay": 0.5}),
    ("nesterov", {"momentum": 0.9}),
    ("nesterov", {"momentum": 0.3, "weight_decay": 0.5}),
    ("rmsprop", {"eps": 1.0}),
    ("adagrad", {"eps": 1.0}),
    ("adam", {"eps": 1.0}),
    ("adam", {"eps": 1.0, "beta1": 0.5}),
    ("amsgrad", {"eps": 1.0}),
    ("adamw", {"eps": 1.0, "weight_decay": 0.0}),
    ("adamw", {"eps": 1.0, "weight_decay": 0.02}),
    ("adam-lecture", {"delta": 1.0}),
]


def bowl(registry: Registry, name: str, curvature: float, start: float, **given: Any) -> Bench:
    """f(x) = curvature / 2 x^2 in float64."""
    return analytic(
        registry, name, lambda x: 0.5 * curvature * (x @ x), torch.tensor([start], dtype=torch.float64), **given
    )


@pytest.mark.parametrize(("name", "given"), CASES, ids=lambda value: str(value))
def test_steps_on_a_quadratic_shrink_just_below_the_limit_and_grow_just_above(
    registry: Registry, name: str, given: dict[str, Any]
) -> None:
    """Gradients are so small next to eps that the preconditioner of the adaptive methods is 1 throughout."""
    start, steps = 1e-60, 3000
    for factor, grows in ((0.99, False), (1.01, True)):
        # the limit depends on lr where there is weight decay, so lr is fixed and the curvature is not
        lr = 0.5
        probe = bowl(registry, name, 1.0, start, lr=lr, **given)
        limit = probe.optimizer.stability_limit(probe.h)
        assert limit is not None
        it = bowl(registry, name, factor * limit / lr, start, lr=lr, **given)
        size = start
        for _ in range(steps // 100):
            it.step(100)
            size = abs(float(it.w))
            if size > 1e20 * start:  # more than what the first steps, whose momentum is still filling, can do
                break
        assert size < 1e-20, "the preconditioner has moved"
        assert (size > 1e20 * start) == grows
        assert (size < 1e-3 * start) == (not grows)


def test_limits_are_the_textbooks(registry: Registry) -> None:
    def limit(name: str, **given: Any) -> float | None:
        it = bowl(registry, name, 1.0, 1.0, **given)
        return it.optimizer.stability_limit(it.h)

    assert limit("sgd") == 2
    assert limit("momentum", momentum=0.9) == pytest.approx(3.8)
    assert limit("nesterov", momentum=0.9) == pytest.approx(3.8 / 2.8)
    assert limit("adam", beta1=0.9) == pytest.approx(38)
    assert limit("adam", weight_decay=0.1) is None
    assert limit("rmsprop", weight_decay=0.1) is None
    assert limit("adagrad", weight_decay=0.1) is None
    for unknown in ("lion", "muon", "nadam", "lbfgs"):
        assert limit(unknown) is None


@pytest.mark.parametrize("name", sorted(ADAPTIVE))
def test_the_last_step_was_the_momentum_divided_by_the_preconditioner(registry: Registry, name: str) -> None:
    scales = torch.tensor([1.0, 10.0, 0.1, 3.0]).double()
    given = {} if name == "adam-lecture" else {"eps": 1e-3}
    if name == "adamw":
        given["weight_decay"] = 0.0
    start = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    it = analytic(registry, name, lambda x: 0.5 * scales @ x.square(), start, lr=0.1, **given)
    assert it.optimizer.preconditioned
    assert it.stepper.preconditioner() is None
    beta1 = it.h.get("beta1", 0.0)
    momentum = torch.zeros_like(start)
    for _ in range(7):
        before = it.w
        momentum = beta1 * momentum + (1 - beta1) * scales * before
        it.step()
        diagonal = it.stepper.preconditioner()
        assert diagonal is not None
        assert [tuple(part.shape) for part in diagonal] == [(4,)]
        torch.testing.assert_close(before - it.w, 0.1 * momentum / diagonal[0], rtol=1e-10, atol=0)


def test_a_method_without_preconditioner_has_none(registry: Registry) -> None:
    for name in ("sgd", "momentum", "nesterov", "lion", "nadam"):
        it = bowl(registry, name, 1.0, 1.0)
        it.step(2)
        assert not it.optimizer.preconditioned
        assert it.stepper.preconditioner() is None


def test_torchs_own_classes_have_limits_and_others_do_not() -> None:
    class Adam(torch.optim.Adam):
        """Has the name of torch's class, but other steps."""

    def limit(made: TorchOptimizer) -> float | None:
        return made.stability_limit({option.name: option.default for option in made.options})

    assert limit(TorchOptimizer(torch.optim.Adam)) == pytest.approx(38)
    assert TorchOptimizer(torch.optim.Adam).preconditioned
    assert limit(TorchOptimizer(torch.optim.SGD)) == 2
    assert limit(TorchOptimizer(Adam)) is None
    assert not TorchOptimizer(Adam).preconditioned
    assert limit(TorchOptimizer(torch.optim.RMSprop, centered=True)) is None
    assert limit(TorchOptimizer(torch.optim.Adagrad, lr_decay=0.1)) is None


def test_a_frozen_parameter_has_no_part_in_the_preconditioner(registry: Registry) -> None:
    module = torch.nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    optimizer = torch.optim.Adam(module.parameters())
    from thalweg.contracts.step_limits import preconditioner

    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    found = preconditioner(optimizer)
    assert found is not None
    assert [part.shape for part in found] == [module.weight.shape]
    expected: Tensor = (module.weight.grad.abs() + 1e-8) * (1 - 0.9)  # type: ignore[union-attr]
    torch.testing.assert_close(found[0], expected)
    assert math.isfinite(float(found[0].sum()))
