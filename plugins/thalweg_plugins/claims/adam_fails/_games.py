"""Many short games at once by a plain loop. Imports numpy, so it is imported only when a claim is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Games:
    """Games of theorem 1: slope C at steps t with t mod 3 = 1, else -1, on [-1, 1]. All arrays have shape (games,)."""

    c: Array
    start: Array
    alpha: Array
    beta1: Array
    beta2: Array


def play(rule: str, games: Games, steps: int) -> Array:
    """The points x_t that are played at t = 1, ..., steps: shape (steps, games).

    ``rule`` is sgd (steps alpha / sqrt(t)), adagrad (steps alpha / sqrt(sum g^2)), adam or amsgrad. The last two are
    in the paper's form: steps alpha / sqrt(t), no bias correction.
    """
    x, path = games.start.copy(), np.empty((steps, len(games.c)))
    m, v, largest = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    other = -np.ones_like(x)
    for t in range(1, steps + 1):
        path[t - 1] = x
        g = games.c if t % 3 == 1 else other
        if rule == "sgd":
            step = games.alpha / np.sqrt(t) * g
        elif rule == "adagrad":
            v = v + g**2
            step = games.alpha * g / np.sqrt(v)
        else:
            m = games.beta1 * m + (1 - games.beta1) * g
            v = games.beta2 * v + (1 - games.beta2) * g**2
            largest = np.maximum(largest, v)
            step = games.alpha / np.sqrt(t) * m / np.sqrt(v if rule == "adam" else largest)
        x = np.minimum(np.maximum(x - step, -1.0), 1.0)
    return path
