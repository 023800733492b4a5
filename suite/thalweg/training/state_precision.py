"""The precision in which an optimizer keeps its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def coarser_than(state: Any, dtype: torch.dtype) -> list[str]:
    """The tensors of a state that have fewer bits than ``dtype``, each by its place in the state and its precision.

    Tensors of one element are left out, because torch counts steps in float32.

    >>> coarser_than({"state": [{"exp_avg": torch.zeros(3), "step": torch.tensor(1.0)}]}, torch.float64)
    ['state[0].exp_avg (float32)']
    """
    bits = torch.finfo(dtype).bits
    return [
        f"{key} ({str(tensor.dtype).removeprefix('torch.')})"
        for key, tensor in _tensors(state, "")
        if tensor.numel() > 1 and tensor.dtype.is_floating_point and torch.finfo(tensor.dtype).bits < bits
    ]


def _tensors(value: Any, key: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor inside a value, with its place."""
    if isinstance(value, Tensor):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _tensors(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _tensors(item, f"{key}[{place}]")
