"""Restores the process after a trial, so that the next trial finds the process as if it were the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

_HOOKS: tuple[dict[int, Any], ...] = tuple(
    getattr(place, name)
    for place in (modules, optimizers)
    for name in vars(place)
    if name.startswith("_global_") and isinstance(getattr(place, name), dict)
)
"""Hooks on every module and on every optimizer of the process."""


_KERNELS: tuple[tuple[Callable[[], bool], Callable[[bool], Any]], ...] = (
    (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
    (torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
)
"""Switches that select kernels: how each is read and set. Kernels round their sums differently."""


def _flushes() -> bool:
    """Whether numbers below the smallest normal number are taken for zero. torch has no function that tells."""
    return float(torch.tensor(1e-310, dtype=torch.float64, device="cpu").mul(1.0)) == 0.0


@contextmanager
def contained(threads: int | None = None) -> Iterator[None]:
    """While active, gradients are on and torch's defaults are float32 and the CPU; then everything is restored.

    Restored are the gradient mode, the default dtype and device, the number of threads, deterministic algorithms,
    anomaly detection, the precision of float32 products, the treatment of subnormal numbers, the kernels of attention
    and of oneDNN, and hooks on all modules or all optimizers. ``seeded`` restores the random generators.

    Args:
        threads: torch's threads while active; None leaves their number as it is.
    """
    hooks = [dict(place) for place in _HOOKS]
    gradients, dtype, count = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    device = torch.get_default_device()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    anomaly = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    products = torch.get_float32_matmul_precision()
    flushes, kernels = _flushes(), [read() for read, _ in _KERNELS]
    if threads is not None and threads != count:
        torch.set_num_threads(threads)
    _set(True, torch.float32, torch.device("cpu"))
    try:
        yield
    finally:
        _set(gradients, dtype, device)
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)
        if deterministic != (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ):
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        if anomaly != (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()):
            torch.autograd.set_detect_anomaly(*anomaly)
        if products != torch.get_float32_matmul_precision():
            torch.set_float32_matmul_precision(products)
        if flushes != _flushes():
            torch.set_flush_denormal(flushes)
        for (read, write), used in zip(_KERNELS, kernels, strict=True):
            if read() != used:
                write(used)
        for place, before in zip(_HOOKS, hooks, strict=True):
            if place != before:
                place.clear()
                place.update(before)


def _set(gradients: bool, dtype: torch.dtype, device: torch.device) -> None:
    torch.set_grad_enabled(gradients)
    if torch.get_default_dtype() != dtype:
        torch.set_default_dtype(dtype)
    if torch.get_default_device() != device:
        # None means the CPU, without torch's check of the default device in every call
        torch.set_default_device(None if device.type == "cpu" else device)
