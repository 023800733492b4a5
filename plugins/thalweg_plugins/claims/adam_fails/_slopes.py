"""The slopes of the registered problem ``rkk18``. Imports torch, so it is imported only when a claim is measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thalweg.contracts import Draw
from thalweg_plugins.claims.stepping import loaded
from thalweg_plugins.problems._online import BLOCK, OnlineLinear
from thalweg_plugins.problems.rkk18 import RKK18


def online(steps: int) -> NDArray[np.float64]:
    """1010 at t mod 101 = 1, else -10, for t = 1, ..., steps."""
    return _slopes("online", 0, steps)


def stochastic(seed: int, steps: int) -> NDArray[np.float64]:
    """1010 with probability 0.01, else -10: the draws of a trial with this seed."""
    return _slopes("stochastic", seed, steps)


def _slopes(version: str, seed: int, steps: int) -> NDArray[np.float64]:
    problem = loaded(RKK18(), version=version)
    assert isinstance(problem, OnlineLinear)
    draw = Draw(seed, None)
    blocks = [problem.slopes.block(number, draw).numpy() for number in range(-(-steps // BLOCK))]
    return np.concatenate(blocks)[:steps]
