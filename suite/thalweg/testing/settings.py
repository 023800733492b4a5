"""Torch's own settings, which one component must not leave changed for the next."""

from __future__ import annotations

from typing import Any

import torch


def torch_settings() -> dict[str, Any]:
    """Those that are kept in the process, by name."""
    return {
        "grad mode": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "number of threads": torch.get_num_threads(),
    }
