"""A deep multi-layer perceptron of constant width, plain or residual."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures.mlp import ACTIVATION, INIT, NORM

if TYPE_CHECKING:
    from torch import nn


class DeepMLP(Architecture):
    """``depth`` hidden layers of one width; with ``residual`` a shortcut skips every two of them."""

    name = "deep-mlp"
    summary = "many fully connected layers of one width, plain or with shortcuts over every two"
    equation = "h <- act(norm(W h + b)), depth times;  residual: h <- h + f(h), f two such layers"
    source = "shortcuts over two layers: He et al. 2016, figure 2"
    options = (
        Option("depth", 8, "[1, inf)", "hidden layers"),
        Option("width", 64, "[1, inf)", "units of each hidden layer"),
        Option("residual", False, summary="whether a shortcut skips every two layers after the first"),
        ACTIVATION,
        NORM,
        INIT,
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """A residual net has a first layer and then whole blocks of two."""
        if options["residual"] and options["depth"] % 2 == 0:
            depth = options["depth"]
            return f"residual = true needs an odd depth (one layer, then blocks of two): {depth - 1} or {depth + 1}"
        return super().misfit(options, shape)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Flatten, the hidden layers, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._blocks import Residual, dense, initialize

        width, activation, norm = options["width"], options["activation"], options["norm"]
        layers: list[nn.Module] = [nn.Flatten(), *dense(prod(shape.input), width, activation, norm)]
        if options["residual"]:
            for _ in range((options["depth"] - 1) // 2):
                layers.append(Residual(width, activation, norm))
        else:
            for _ in range(options["depth"] - 1):
                layers += dense(width, width, activation, norm)
        module = nn.Sequential(*layers, nn.Linear(width, prod(shape.output)))
        initialize(module, options["init"])
        return module
