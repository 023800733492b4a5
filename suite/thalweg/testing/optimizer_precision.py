"""Checks of the precision in which an optimizer keeps its state and computes its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from thalweg.registry import Registry
from thalweg.testing.condition import condition, expect
from thalweg.testing.small import Workbench
from thalweg.training.randomness import seeded
from thalweg.training.state_precision import coarser_than

STEPS = 5


@condition(
    finds="tensors with fewer bits than the weights in the state of a float64 trial",
    means="float64 trials have the rounding errors of a lower precision",
)
def keeps_its_state_in_the_precision_of_the_weights(registry: Registry, name: str) -> None:
    """In a float64 trial the weights and the state's tensors are float64.

    Single numbers may have lower precision: torch counts steps in float32.
    """
    with seeded(0):
        bench = Workbench(registry, name, torch.float64)
        bench.path(0, STEPS)
    weights = {label: parameter.dtype for label, parameter in bench.module.named_parameters()}
    low = [f"{label} ({_word(dtype)})" for label, dtype in weights.items() if dtype != torch.float64]
    expect(not low, "weights that stay float64", f"the steps have changed {', '.join(low)}")
    found = coarser_than(bench.stepper.state_dict(), torch.float64)
    expect(not found, "a state in float64 of a float64 trial", ", ".join(found))


@condition(
    finds="float64 numbers that a step rounds to float32 or bfloat16 on the way",
    means="float64 trials have the rounding errors of a lower precision, though all their tensors are float64",
)
def computes_in_the_precision_of_the_weights(registry: Registry, name: str) -> None:
    """In a float64 trial no step rounds a tensor of float64 numbers to fewer bits.

    A conversion that changes no number, as of a mask of zeros and ones, rounds nothing.
    """
    with seeded(0):
        bench = Workbench(registry, name, torch.float64)
        with _Roundings() as seen:
            bench.path(0, STEPS)
    expect(not seen.found, "a float64 trial to compute in float64", "; ".join(seen.found))


class _Roundings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that round tensors of float64 numbers to fewer bits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        exact = [tensor for tensor in _tensors((args, kwargs)) if tensor.dtype == torch.float64]
        for coarse in _tensors(result) if exact else ():
            if coarse.dtype.is_floating_point and torch.finfo(coarse.dtype).bits < 64 and _rounds(exact, coarse):
                self.found[f"{func.__name__.split('.')[0].strip('_')} rounds to {_word(coarse.dtype)}"] = None
        return result


def _rounds(exact: list[Tensor], coarse: Tensor) -> bool:
    """Whether a coarse tensor lacks digits of the numbers that it was computed from."""
    like = [tensor for tensor in exact if tensor.shape == coarse.shape]
    if coarse.numel() < 2 or not like:
        return False
    return not any(torch.equal(coarse.double().nan_to_num(), tensor.nan_to_num()) for tensor in like)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in the arguments or the result of an operation."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
