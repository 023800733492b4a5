"""The mode in which a module is looked at: evaluation mode, and which statistics batch norm uses."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

BatchStatistics = Literal["running", "batch"]
"""Those that training kept (``running``), or those of the examples at hand, as in training (``batch``)."""


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The module's batch-norm layers, in order."""
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]


def set_evaluating(module: nn.Module, batch_norm: BatchStatistics = "running") -> None:
    """Put a module into evaluation mode: nothing random. With ``"batch"`` batch norm alone is in training mode."""
    module.eval()
    if batch_norm == "batch":
        for layer in batch_norms(module):
            layer.train()
