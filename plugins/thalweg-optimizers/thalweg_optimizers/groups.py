"""What a class takes first, where that is more than a network's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def muon(module: nn.Module) -> list[dict[str, Any]]:
    """Matrices by Muon, biases and scales by the method beside it."""
    matrices = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    both = [{"params": matrices, "use_muon": True}, {"params": others, "use_muon": False}]
    return [group for group in both if group["params"]]


def itself(module: nn.Module) -> nn.Module:
    """The network."""
    return module


def named(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters with their names."""
    return list(module.named_parameters())


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    """Another optimizer, which the class wraps: SGD with momentum 0.9."""
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)


GROUPS: dict[str, Callable[[nn.Module], Any]] = {"muon": muon, "module": itself, "named": named, "sgd": sgd}
"""By the names that tables use."""
