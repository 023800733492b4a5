"""A product of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._dense import bad_initialization, initialization

if TYPE_CHECKING:
    from torch import nn


class DeepLinear(Architecture):
    """A linear map written as a product of ``depth`` + 1 matrices: a non-convex loss with no bad local minima."""

    name = "deep-linear"
    summary = "linear layers without activations: a linear map with the landscape of a deep network"
    equation = "z = W_{depth+1} W_depth ... W_1 x"
    source = "Saxe et al. 2014; no bad local minima: Kawaguchi 2016"
    options = (
        Option("depth", 3, "[1, inf)", "hidden layers"),
        Option("width", 64, "[1, inf)", "units of each hidden layer"),
        *initialization("fan-in"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits every problem whose inputs are numbers."""
        return super().misfit(options, shape) or bad_initialization(options)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Flatten, and linear layers without biases."""
        from torch import nn

        from thalweg_plugins.architectures._blocks import NoActivation, initialize

        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape.input)
        for _ in range(options["depth"]):
            layers += [nn.Linear(width, options["width"], bias=False), NoActivation()]
            width = options["width"]
        module = nn.Sequential(*layers, nn.Linear(width, prod(shape.output), bias=False))
        initialize(module, options)
        return module
