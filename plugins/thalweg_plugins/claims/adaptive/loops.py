"""The formulas of first-order optimizers as plain loops in float64. Imports numpy, so it is imported only to measure.

Each loop takes the first weights, the gradient as a function of the weights, and the hyperparameters. It yields the
weights after each step, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Gradient = Callable[[Vector], Vector]
Loop = Callable[[Vector, Gradient, dict[str, Any]], Iterator[Vector]]


def sgd(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """w <- w - lr g."""
    while True:
        w = w - h["lr"] * gradient(w)
        yield w


def momentum(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """v <- mu v + g; w <- w - lr v."""
    v = np.zeros_like(w)
    while True:
        v = h["momentum"] * v + gradient(w)
        w = w - h["lr"] * v
        yield w


def nesterov(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """v <- mu v + g; w <- w - lr (g + mu v)."""
    v = np.zeros_like(w)
    while True:
        g = gradient(w)
        v = h["momentum"] * v + g
        w = w - h["lr"] * (g + h["momentum"] * v)
        yield w


def adagrad(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """w <- w - lr g / (sqrt(sum of g^2 so far) + eps)."""
    total = np.zeros_like(w)
    while True:
        g = gradient(w)
        total = total + g**2
        w = w - h["lr"] * g / (np.sqrt(total) + h["eps"])
        yield w


def rmsprop(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """w <- w - lr g / (sqrt(running mean of g^2) + eps)."""
    v = np.zeros_like(w)
    while True:
        g = gradient(w)
        v = h["alpha"] * v + (1 - h["alpha"]) * g**2
        w = w - h["lr"] * g / (np.sqrt(v) + h["eps"])
        yield w


def adam(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """Running means of g and g^2, both corrected for their start at zero."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in count(1):
        g = gradient(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * g
        v = h["beta2"] * v + (1 - h["beta2"]) * g**2
        m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
        w = w - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"])
        yield w


def amsgrad(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """Adam with the largest v so far, in torch's form."""
    m, v, largest = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t in count(1):
        g = gradient(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * g
        v = h["beta2"] * v + (1 - h["beta2"]) * g**2
        largest = np.maximum(largest, v)
        m_hat, v_hat = m / (1 - h["beta1"] ** t), largest / (1 - h["beta2"] ** t)
        w = w - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"])
        yield w


def adamw(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """Adam, with weights that shrink by lr weight_decay beside the step."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in count(1):
        g = gradient(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * g
        v = h["beta2"] * v + (1 - h["beta2"]) * g**2
        m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
        w = w - h["lr"] * (m_hat / (np.sqrt(v_hat) + h["eps"]) + h["weight_decay"] * w)
        yield w


def nadam(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """Adam with Nesterov momentum and a first decay rate that grows towards beta1."""

    def mu(t: int) -> float:
        return float(h["beta1"] * (1 - 0.5 * 0.96 ** (t * h["momentum_decay"])))

    m, v = np.zeros_like(w), np.zeros_like(w)
    product = np.float32(1.0)
    for t in count(1):
        g = gradient(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * g
        v = h["beta2"] * v + (1 - h["beta2"]) * g**2
        # torch keeps the product in single precision for weights of every precision
        product = product * np.float32(mu(t))
        following = float(product) * mu(t + 1)
        m_hat = mu(t + 1) * m / (1 - following) + (1 - mu(t)) * g / (1 - float(product))
        w = w - h["lr"] * m_hat / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"])
        yield w


def lion(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """Steps by the sign of a mix of gradient and momentum."""
    m = np.zeros_like(w)
    while True:
        g = gradient(w)
        w = w - h["lr"] * (np.sign(h["beta1"] * m + (1 - h["beta1"]) * g) + h["weight_decay"] * w)
        m = h["beta2"] * m + (1 - h["beta2"]) * g
        yield w


def adagrad_lecture(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """AdaGrad with the sum over the gradients before this one; nothing moves where the sum is empty."""
    past: list[Vector] = []
    while True:
        g = gradient(w)
        if past:
            w = w - h["lr"] * g / (np.sqrt(np.sum(np.square(past), 0)) + h["eps"])
        past.append(g)
        yield w


def rmsprop_lecture(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """RMSProp with the fading sum over the gradients before this one, without the factor 1 - rho."""
    past: list[Vector] = []
    for t in count(1):
        g = gradient(w)
        if past:
            fading = h["rho"] ** (t - np.arange(1, t))
            w = w - h["lr"] * g / (np.sqrt(fading @ np.square(past)) + h["eps"])
        past.append(g)
        yield w


def adam_lecture(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """Adam with the small constant inside the root."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in count(1):
        g = gradient(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * g
        v = h["beta2"] * v + (1 - h["beta2"]) * g**2
        m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
        w = w - h["lr"] * m_hat / np.sqrt(v_hat + h["delta"])
        yield w


def adam_rkk18(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """Adam with steps lr / sqrt(t), without bias correction and eps."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in count(1):
        g = gradient(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * g
        v = h["beta2"] * v + (1 - h["beta2"]) * g**2
        w = w - h["lr"] / np.sqrt(t) * m / np.sqrt(v)
        yield w


def amsgrad_rkk18(w: Vector, gradient: Gradient, h: dict[str, Any]) -> Iterator[Vector]:
    """``adam_rkk18`` with the largest v so far."""
    m, v, largest = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t in count(1):
        g = gradient(w)
        m = h["beta1"] * m + (1 - h["beta1"]) * g
        v = h["beta2"] * v + (1 - h["beta2"]) * g**2
        largest = np.maximum(largest, v)
        w = w - h["lr"] / np.sqrt(t) * m / np.sqrt(largest)
        yield w


LOOPS: dict[str, Loop] = {
    loop.__name__.replace("_", "-"): loop
    for loop in (
        sgd,
        momentum,
        nesterov,
        adagrad,
        rmsprop,
        adam,
        adamw,
        amsgrad,
        nadam,
        lion,
        adagrad_lecture,
        rmsprop_lecture,
        adam_lecture,
        adam_rkk18,
        amsgrad_rkk18,
    )
}
"""The loop of each registered optimizer, by its name."""
