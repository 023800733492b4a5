"""The global random generators, seeded for a trial and put back afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """While active, torch's, numpy's and Python's global generators run from ``seed``; afterwards as before.

    What thalweg draws itself comes from generators of its own. Third-party optimizers and modules draw from these.
    """
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is the global one that is meant
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002
