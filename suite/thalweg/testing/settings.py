"""Torch's settings, which a component must not leave changed for the next component."""

from __future__ import annotations

from typing import Any

import torch


def torch_settings() -> dict[str, Any]:
    """Torch's settings in this process, by name."""
    return {
        "grad mode": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "number of threads": torch.get_num_threads(),
    }
