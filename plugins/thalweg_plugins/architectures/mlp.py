"""A multi-layer perceptron with layers of declared widths."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._dense import (
    ACTIVATION,
    INITIALIZATION,
    INITIALIZATION_SOURCE,
    NORM,
    bad_initialization,
)

if TYPE_CHECKING:
    from torch import nn


class MLP(Architecture):
    """Hidden layers of declared widths, each followed by a normalisation and an activation, and a linear output."""

    name = "mlp"
    summary = "fully connected layers of declared widths"
    equation = "h <- act(norm(W h + b)) for each width;  z = W h + b"
    source = INITIALIZATION_SOURCE
    options = (Option("widths", (64, 64), "[1, inf)", "units of each hidden layer"), ACTIVATION, NORM, *INITIALIZATION)

    def draws_in_forward(self, options: Mapping[str, Any]) -> bool:
        """True for noisy batch norm."""
        return bool(options["norm"] == "noisy-batch")

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits every problem whose inputs are numbers."""
        return super().misfit(options, shape) or bad_initialization(options)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Flatten, hidden layers, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._blocks import dense, initialize

        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape.input)
        for next_width in options["widths"]:
            layers += dense(width, next_width, options["activation"], options["norm"])
            width = next_width
        module = nn.Sequential(*layers, nn.Linear(width, prod(shape.output)))
        initialize(module, options)
        return module
