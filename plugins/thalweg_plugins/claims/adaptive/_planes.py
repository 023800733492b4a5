"""Quadratics of two variables at many rates at once. Imports numpy, so it is imported only when a claim is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CURVATURES = np.array([1.0, 1000.0])
"""Of the flat and the steep direction."""
RATES = np.geomspace(1e-4, 1e2, 25)
TARGET = 1e-6
MOST = 20_000
QUARTER = np.array([[math.sqrt(0.5), math.sqrt(0.5)], [-math.sqrt(0.5), math.sqrt(0.5)]])
"""The flat and the steep direction as rows, in the rotated plane."""
METHODS = ("gradient descent", "momentum", "adagrad", "rmsprop", "adam")


class Method:
    """The steps of a method for weights of any shape, with the defaults of the registered optimizer."""

    def __init__(self, name: str, rates: Array) -> None:
        self.name, self.rates, self.t = name, rates, 0
        self.m: Array = np.zeros(1)
        self.v: Array = np.zeros(1)

    def step(self, g: Array) -> Array:
        """What is subtracted from the weights."""
        self.t += 1
        match self.name:
            case "gradient descent":
                return self.rates * g
            case "momentum":
                self.m = 0.9 * self.m + g
                return self.rates * self.m
            case "adagrad":
                self.v = self.v + g**2
                return self.rates * g / (np.sqrt(self.v) + 1e-10)
            case "rmsprop":
                self.v = 0.99 * self.v + (1 - 0.99) * g**2
                return self.rates * g / (np.sqrt(self.v) + 1e-8)
            case _:
                self.m = 0.9 * self.m + (1 - 0.9) * g
                self.v = 0.999 * self.v + (1 - 0.999) * g**2
                corrected = np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8
                return self.rates * (self.m / (1 - 0.9**self.t)) / corrected


@dataclass(frozen=True)
class Best:
    """A method at its best rate."""

    rate: float
    steps: int
    """Steps to the target; ``MOST`` where no rate reaches it."""
    reached: bool
    sign_changes: int
    """Of the coordinate along the steep direction, up to the last step."""


def best_of_rates(name: str, start: Array, directions: Array) -> Best:
    """The rate that reaches 1e-6 of the first value in the fewest steps, the smallest among equals.

    All rates step at once until the first one arrives.

    Args:
        name: the method.
        start: the first point (2,), in coordinates along the flat and the steep direction.
        directions: the flat and the steep direction as rows (2, 2).
    """
    method = Method(name, RATES[:, None])
    w = np.tile(start @ directions, (len(RATES), 1))
    first = 0.5 * float(CURVATURES @ start**2)
    flips, sign = np.zeros(len(RATES), int), np.sign(start[1])
    with np.errstate(all="ignore"):  # rates that are too large diverge
        for t in range(1, MOST + 1):
            along = w @ directions.T
            w = w - method.step((along * CURVATURES) @ directions)
            along = w @ directions.T
            new = np.sign(along[:, 1])
            flips += new * sign < 0
            sign = np.where(new != 0, new, sign)
            values = 0.5 * (along**2 @ CURVATURES)
            arrived = values <= TARGET * first
            if arrived.any():
                which = int(np.argmax(arrived))
                return Best(float(RATES[which]), t, True, int(flips[which]))
        which = int(np.nanargmin(values))
    return Best(float(RATES[which]), MOST, False, int(flips[which]))


def path(name: str, rate: float, start: Array, directions: Array, steps: int) -> Array:
    """The points (steps + 1, 2) of a method at a rate, in the coordinates of the plane."""
    method, w = Method(name, np.array([rate])), start @ directions
    points = [w]
    for _ in range(steps):
        w = w - method.step((directions @ w * CURVATURES) @ directions)
        points.append(w)
    return np.array(points)
