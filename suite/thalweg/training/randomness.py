"""The global random generators, seeded for a trial and put back afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """While active, the global generators of torch, numpy and Python run from ``seed``; then they are restored.

    thalweg itself draws from generators that it makes. Third-party optimizers and modules draw from the global ones.
    """
    # NPY002: it is the global generator that is meant
    python, numbers = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
    with torch.random.fork_rng() if torch.accelerator.is_available() else _cpu():
        _seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002


def _seed(seed: int) -> None:
    """Seed torch's generators. Without an accelerator only the CPU's, because ``torch.manual_seed`` is slow."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def _cpu() -> Iterator[None]:
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
