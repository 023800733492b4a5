"""Options that the dense architectures share. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from thalweg import Option

ACTIVATION = Option("activation", "relu", ("relu", "tanh", "gelu"), "nonlinearity after each hidden layer")
NORM = Option(
    "norm",
    "none",
    ("none", "batch", "layer", "noisy-batch"),
    "normalisation before the activation; noisy-batch adds noise after batch norm (Santurkar et al. 2018)",
)
INIT = Option(
    "init",
    "he",
    ("he", "glorot", "fan-in", "torch", "orthogonal", "uniform", "signed-uniform"),
    "weights normal with variance 2/fan_in (he), 2/(fan_in + fan_out) (glorot) or 1/fan_in (fan-in), orthogonal, "
    "uniform from low to high, or so with random signs, and zero biases; torch: torch's own weights and biases",
)
LOW = Option("low", -0.1, summary="lower end of the uniform initializations")
HIGH = Option("high", 0.1, summary="upper end of the uniform initializations")
INITIALIZATION = (
    INIT,
    Option("gain", 1.0, "(0, inf)", "factor on the initial weights; not for init = torch"),
    LOW,
    HIGH,
)
INITIALIZATION_SOURCE = (
    "initialization: He et al. 2015, equation 10; Glorot & Bengio 2010, equation 12; Saxe et al. 2014 (orthogonal)"
)


def initialization(default: str) -> tuple[Option, ...]:
    """The options of the initialization, with another default for ``init``."""
    return (replace(INIT, default=default), *INITIALIZATION[1:])


def bad_initialization(options: Mapping[str, Any]) -> str | None:
    """Why the options of an initialization contradict each other, as the end of a sentence."""
    init, low, high = options["init"], options["low"], options["high"]
    if "uniform" not in init and (low, high) != (LOW.default, HIGH.default):
        return f"low and high have no effect with init = {init!r}: leave them out"
    if init == "torch" and options["gain"] != 1.0:
        return "gain has no effect with init = 'torch': leave it out"
    return None if low < high else f"low = {low:g} is not below high = {high:g}"
