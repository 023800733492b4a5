"""Calls of a module with other weights than its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def called_with(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Any:
    """The outputs of a module with these parameters and buffers, by name; the module keeps its own.

    The function names each tensor once for each part of the network that has it, and calls
    ``torch.func.functional_call``. Left to itself, torch 2.13 also names a part's second name, and then leaves the
    given tensors in the module.

    Args:
        module: the network.
        state: parameters and buffers, under any of their names. For all others the module uses its own.
        inputs: the inputs of ``forward``.
    """
    given = {
        id(own): state[name]
        for named in (module.named_parameters, module.named_buffers)
        for name, own in named(remove_duplicate=False)
        if name in state
    }
    tied = {
        f"{prefix}.{name}" if prefix else name: given[id(own)]
        for prefix, part in module.named_modules()
        for name, own in (
            *part.named_parameters(recurse=False, remove_duplicate=False),
            *part.named_buffers(recurse=False, remove_duplicate=False),
        )
        if id(own) in given
    }
    return torch.func.functional_call(module, tied, (inputs,), tie_weights=False)
