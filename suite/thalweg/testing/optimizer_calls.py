"""Checks that the training calls all methods on which a torch class relies."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
from thalweg.testing.small import Workbench
from thalweg.training.randomness import seeded

STEPS = 30


@condition(
    finds="state that stays zero because the method that fills it is never called (Sophia's ``update_hessian``)",
    means="the trial is of another method than the class's name says, such as sign descent in place of Sophia",
)
def calls_what_fills_its_state(registry: Registry, name: str) -> None:
    """No state of a torch class stays zero for thirty steps because no one calls the method that fills the state.

    Some torch classes need more calls than ``step``, such as Sophia's ``update_hessian``.
    """
    with seeded(0):
        bench = Workbench(registry, name)
        optimizer: Any = getattr(bench.stepper, "optimizer", None)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise DoesNotApply("it is no torch class")
        called: set[str] = set()
        methods = _own_methods(type(optimizer))
        for label in methods:
            setattr(optimizer, label, _noted(getattr(optimizer, label), label, called))
        bench.path(0, STEPS)
    idle = {label: inspect.getsource(method) for label, method in methods.items() if label not in called}
    for key in _always_zero(optimizer):
        unasked = [label for label, source in idle.items() if repr(key) in source or f'"{key}"' in source]
        asked = unasked[0] if unasked else ""
        expect(
            not unasked,
            f"{key!r} of the state to be filled within {STEPS} steps",
            f"it is zero, because step() does not call {asked}(), which fills it",
            f"write a thalweg.Optimizer that calls {asked}()",
        )


def _own_methods(cls: type[torch.optim.Optimizer]) -> dict[str, Callable[..., Any]]:
    """The public methods of a class that torch's optimizers do not have."""
    return {
        label: method
        for label, method in inspect.getmembers(cls, inspect.isfunction)
        if not label.startswith("_") and not hasattr(torch.optim.Optimizer, label)
    }


def _noted(method: Callable[..., Any], label: str, called: set[str]) -> Callable[..., Any]:
    @functools.wraps(method)
    def note(*words: Any, **options: Any) -> Any:
        called.add(label)
        return method(*words, **options)

    return note


def _always_zero(optimizer: torch.optim.Optimizer) -> list[str]:
    """The keys of the state whose tensors are zero for every parameter."""
    found: dict[str, bool] = {}
    for state in optimizer.state.values():
        for key, value in state.items() if isinstance(state, dict) else ():
            if isinstance(key, str) and isinstance(value, torch.Tensor) and value.numel() > 1:
                found[key] = found.get(key, True) and not bool(value.any())
    return [key for key, zero in found.items() if zero]
