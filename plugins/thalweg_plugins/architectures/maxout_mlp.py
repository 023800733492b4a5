"""A multi-layer perceptron whose units take the largest of several linear functions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._dense import bad_initialization, initialization

if TYPE_CHECKING:
    from torch import nn


class MaxoutMLP(Architecture):
    """Hidden layers of maxout units and a linear output.

    With two pieces the default initialization keeps the activations' mean square from layer to layer, since
    E max(a, b)^2 = 1 for standard normal a and b.
    """

    name = "maxout-mlp"
    summary = "fully connected layers of maxout units"
    equation = "h_j <- max_k (W_jk h + b_jk), k = 1..pieces, for each width;  z = W h + b"
    source = "Goodfellow et al. 2013, section 3"
    options = (
        Option("widths", (64, 64), "[1, inf)", "units of each hidden layer"),
        Option("pieces", 2, "[2, inf)", "linear functions in each unit"),
        *initialization("fan-in"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits every problem whose inputs are numbers."""
        return super().misfit(options, shape) or bad_initialization(options)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Flatten, hidden layers, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._blocks import Maxout, initialize

        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape.input)
        for next_width in options["widths"]:
            layers += [nn.Linear(width, next_width * options["pieces"]), Maxout(options["pieces"])]
            width = next_width
        module = nn.Sequential(*layers, nn.Linear(width, prod(shape.output)))
        initialize(module, options)
        return module
