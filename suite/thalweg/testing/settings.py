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


def put_back(settings: dict[str, Any]) -> None:
    """Set what ``torch_settings`` gave."""
    torch.set_grad_enabled(settings["grad mode"])
    torch.set_default_dtype(settings["default dtype"])
    torch.use_deterministic_algorithms(settings["deterministic algorithms"])
    if torch.get_num_threads() != settings["number of threads"]:
        torch.set_num_threads(settings["number of threads"])
