"""Copies of modules and of their states, also where a module holds more than parameters."""

from __future__ import annotations

import copy
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

_ATOMS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, bytes, int, float, complex)
"""Types whose objects a deep copy shares, or whose objects hold no other objects."""


def copied(module: Module) -> Module:
    """A deep copy, in which computed tensors have lost their graph.

    ``copy.deepcopy`` refuses computed tensors. A network may keep an activation, and hooks of pruning and of weight
    normalisation keep the weight that they computed last.
    """
    without_graph: dict[int, Any] = {
        id(tensor): tensor.detach().clone()
        for tensor in tensors_held(*map(vars, module.modules()))
        if not tensor.is_leaf
    }
    return copy.deepcopy(module, without_graph)


def state_of(module: nn.Module, device: str | torch.device | None = None) -> dict[str, Any]:
    """A module's state dict as copies, its tensors on ``device`` (where they are if None), without their graph.

    Extra state (``get_extra_state``) may be anything: it is copied as deep as it goes.
    """
    return {
        name: value.detach().to(device).clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in module.state_dict().items()
    }


def tensors_held(*holders: Any) -> Iterator[Tensor]:
    """All tensors that objects hold in attributes, containers and other objects, at any depth but not in modules."""
    waiting: list[Any] = list(holders)
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or value is None or isinstance(value, _ATOMS):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset | deque):
            waiting.extend(value)
        elif not isinstance(value, nn.Module):
            waiting.append(getattr(value, "__dict__", None))
