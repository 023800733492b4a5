"""The problem ``wrs17`` in as many numbers as it has different gradients. Imports numpy and torch.

All unique features of an example have the same gradient, and so have the features 2 and 3. An elementwise optimizer
moves them alike, so one number stands for each group: its sum of weights. Test examples have features that never get a
gradient; their weights stay at the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thalweg.contracts import Draw

Array = NDArray[np.float64]


def labels(n: int, share: float) -> Array:
    """The first round(share n) labels are +1, the others -1."""
    positive = round(share * n)
    return np.repeat([1.0, -1.0], [positive, n - positive])


def unique_features(y: Array) -> Array:
    """One for y = +1, five for y = -1."""
    return 1 + 2 * (1 - y)


class Rule:
    """The step of a method for arrays of any shape, with the registered defaults apart from eps."""

    def __init__(self, name: str, shape: tuple[int, ...], eps: float) -> None:
        self.name, self.eps, self.t = name, eps, 0
        self.m, self.v = np.zeros(shape), np.zeros(shape)

    def step(self, g: Array, lr: float) -> Array:
        """What is subtracted."""
        self.t += 1
        if self.name == "adagrad":
            self.v += g * g
            return lr * g / (np.sqrt(self.v) + self.eps)
        if self.name == "rmsprop":
            self.v *= 0.99
            self.v += (1 - 0.99) * g * g
            return lr * g / (np.sqrt(self.v) + self.eps)
        self.m *= 0.9
        self.m += (1 - 0.9) * g
        self.v *= 0.999
        self.v += (1 - 0.999) * g * g
        root = np.sqrt(self.v / (1 - 0.999**self.t)) + self.eps
        return lr / (1 - 0.9**self.t) * self.m / root


@dataclass
class Runs:
    """Weights of R runs, as sums over groups of features."""

    first: Array
    """w_1, (R,)."""
    shared: Array
    """w_2 + w_3, (R,)."""
    unique: Array
    """The sum over the unique features of each training example, (R, n)."""
    fixed: Array
    """The sum over the unique features of each test example, (R, n)."""

    @classmethod
    def drawn(cls, seeds: Sequence[int], y: Array, spread: float) -> Runs:
        """Weights from N(0, spread^2), drawn feature by feature as (w_1, w_2, ..., w_d) from the seed."""
        counts = unique_features(np.concatenate([y, y])).astype(int)
        weights = [spread * np.random.default_rng([503, seed]).standard_normal(3 + 5 * len(counts)) for seed in seeds]
        sums = np.array([[w[3 + 5 * i : 3 + 5 * i + count].sum() for i, count in enumerate(counts)] for w in weights])
        n = len(y)
        return cls(
            np.array([w[0] for w in weights]), np.array([w[1] + w[2] for w in weights]), sums[:, :n], sums[:, n:]
        )

    def test_accuracy(self, y: Array) -> Array:
        """The share of test examples with the sign of y, for each run; an output of zero is wrong."""
        outputs = self.first[:, None] * y + self.shared[:, None] + self.fixed
        return np.asarray((np.sign(outputs) == y).mean(1))

    def train_accuracy(self, y: Array) -> Array:
        """The same for training examples."""
        outputs = self.first[:, None] * y + self.shared[:, None] + self.unique
        return np.asarray((np.sign(outputs) == y).mean(1))


def train(
    name: str, runs: Runs, y: Array, seeds: Sequence[int], batch: int | None, eps: float, rates: Sequence[float]
) -> None:
    """Move all runs by one step for each rate. A run has the batches of a trial with its seed; None: full batches."""
    n, count = len(y), len(seeds)
    many = unique_features(y)
    rule = Rule(name, (count, n + 2), eps)
    draws = [Draw(seed, batch) for seed in seeds]
    size = batch or n
    per_epoch = n // size
    rows = np.arange(count)[:, None]
    order = np.tile(np.arange(n), (count, 1))
    g = np.zeros((count, n + 2))
    for t, lr in enumerate(rates):
        epoch, position = divmod(t, per_epoch)
        if batch is not None and position == 0:
            order = np.array([draw.permutation(epoch, n).numpy() for draw in draws])
        chosen = order[:, position * size : (position + 1) * size]
        target = y[chosen]
        outputs = runs.first[:, None] * target + runs.shared[:, None] + runs.unique[rows, chosen]
        slopes = 2 / size * (outputs - target)
        g[:, 2:] = 0.0
        g[:, 0] = (slopes * target).sum(1)
        g[:, 1] = slopes.sum(1)
        g[rows, chosen + 2] = slopes
        step = rule.step(g, lr)
        runs.first -= step[:, 0]
        runs.shared -= 2 * step[:, 1]
        runs.unique -= many * step[:, 2:]
