"""The registered problem ``wrs17`` in section E. Imports torch, so it is imported only when a claim is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thalweg.contracts import Optimizer
from thalweg.contracts.supervised import Supervised
from thalweg_plugins.claims.stepping import Steps, loaded
from thalweg_plugins.problems.wrs17 import WRS17

Array = NDArray[np.float64]

SHARES = {"p = 0.6": 0.6, "p = 0.9": 0.9}
"""The share of examples with y = +1 in each setting."""
N = 200
"""Training examples, and as many test examples."""
SCHEDULE = {"adagrad": (0.02, 1.0), "rmsprop": (0.003, 0.99), "adam": (0.003, 0.995)}
"""The first rate of each adaptive method, and the factor by which the rate falls in a thousandth of the run."""


@dataclass(frozen=True)
class Fit:
    """A linear model after training from zero."""

    w: Array
    x: Array
    """Training examples (n, d)."""
    y: Array
    """Labels (n,)."""
    test_accuracy: float
    train_accuracy: float

    @property
    def least_norm(self) -> Array:
        """X'(XX')^-1 y."""
        found: Array = self.x.T @ np.linalg.solve(self.x @ self.x.T, self.y)
        return found

    @property
    def signs(self) -> Array:
        """sign(X'y)."""
        return np.sign(self.x.T @ self.y)

    @property
    def cosine(self) -> float:
        """The cosine of the weights with ``signs``."""
        return float(self.w @ self.signs / np.linalg.norm(self.w) / np.linalg.norm(self.signs))


def trained(
    optimizer: Optimizer, share: float, steps: int, decay: float = 1.0, literal: bool = False, **hyperparameters: Any
) -> Fit:
    """Train by full batches from zero; the rate at step t = 0, 1, ... is lr decay^(t + 1)."""
    problem = loaded(WRS17(), examples=N, test_examples=N, share=share, unique="literal" if literal else "paper")
    assert isinstance(problem, Supervised)
    x, y = problem.data["train"]
    module = nn.Linear(x.shape[1], 1, bias=False).double()
    with torch.no_grad():
        module.weight.zero_()
    run = Steps(optimizer, problem, module, **hyperparameters)
    lr = run.stepper.lr
    for t in range(steps):
        run.stepper.lr = lr * decay ** (t + 1)
        run.step()
    accuracy = {split: problem.evaluate(module, split)["accuracy"] for split in ("train", "test")}
    return Fit(run.w.numpy(), x.numpy(), y[:, 0].numpy(), accuracy["test"], accuracy["train"])


def majority(share: float) -> float:
    """The share of the larger class."""
    return max(share, 1 - share)
