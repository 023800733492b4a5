"""Two million steps of a scalar problem on an interval. Imports numpy, so it is imported only to measure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def clipped_walk(steps: Array, starts: Array) -> Array:
    """x_1, ..., x_T of x_(t+1) = clip(x_t - step_t, -1, 1), for steps (T,) and starts x_1 (K,): shape (K, T).

    A step is the map x -> min(max(x + a, low), high), and maps of this form are closed under composition. So the walk
    is cut into about sqrt(T) blocks. The maps of all blocks are composed at once, the starts run through the blocks,
    and all blocks are walked at once from their starts. The result differs from a plain loop by the rounding of sums.
    """
    count, paths = len(steps), len(starts)
    length = math.isqrt(count - 1) + 1
    blocks = -(-count // length)
    padded = np.zeros(length * blocks)
    padded[:count] = -steps
    moves = np.ascontiguousarray(padded.reshape(blocks, length).T)  # (length, blocks): the steps of a block in a column

    shift, low, high = np.zeros(blocks), np.full(blocks, -np.inf), np.full(blocks, np.inf)
    for move in moves:
        shift += move
        for edge in (low, high):
            edge += move
            np.maximum(edge, -1.0, out=edge)
            np.minimum(edge, 1.0, out=edge)

    x = np.empty((blocks, paths))
    now = starts.astype(float)
    for block in range(blocks):
        x[block] = now
        now = np.minimum(np.maximum(now + shift[block], low[block]), high[block])

    walked = np.empty((length, paths, blocks))
    now = np.ascontiguousarray(x.T)
    for place, move in enumerate(moves):
        walked[place] = now
        now += move
        np.maximum(now, -1.0, out=now)
        np.minimum(now, 1.0, out=now)
    return np.ascontiguousarray(walked.transpose(1, 2, 0)).reshape(paths, -1)[:, :count]


def adam_steps(slopes: Array, alpha: float, beta1: float, beta2: float) -> dict[str, Array]:
    """The steps (T,) of Adam and AMSGrad in the paper's form on linear functions with these slopes.

    The slopes do not depend on x, so both moments are linear filters of them: step_t = alpha / sqrt(t) m_t / sqrt(v_t),
    and AMSGrad divides by the root of the largest v so far.
    """
    from scipy.signal import lfilter

    m = lfilter([1 - beta1], [1, -beta1], slopes)
    v = lfilter([1 - beta2], [1, -beta2], slopes**2)
    m *= alpha / np.sqrt(np.arange(1, len(slopes) + 1))
    return {"adam": m / np.sqrt(v), "amsgrad": m / np.sqrt(np.maximum.accumulate(v))}
