"""A deep multi-layer perceptron of constant width, plain or residual."""

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


class DeepMLP(Architecture):
    """``depth`` hidden layers of one width. With ``residual`` shortcuts skip every two layers after the first layer."""

    name = "deep-mlp"
    summary = "many fully connected layers of one width, plain or with a shortcut over every two layers"
    equation = (
        "h <- act(norm(W h + b)), depth times;  residual: h <- h + f(h) or h + f(h)/L, f two such layers, L blocks"
    )
    source = (
        f"shortcuts over two layers: He et al. 2016, figure 2; scaled by 1/L: Hanin & Rolnick 2018; "
        f"{INITIALIZATION_SOURCE}"
    )
    options = (
        Option("depth", 8, "[1, inf)", "hidden layers"),
        Option("width", 64, "[1, inf)", "units of each hidden layer"),
        Option(
            "residual",
            "none",
            ("none", "plain", "scaled"),
            "whether shortcuts skip every two layers after the first; scaled divides the skipped layers' output by the "
            "number of blocks",
        ),
        ACTIVATION,
        NORM,
        Option("norm_position", "before", ("before", "after"), "normalisation before or after the activation"),
        *INITIALIZATION,
    )

    def draws_in_forward(self, options: Mapping[str, Any]) -> bool:
        """True for noisy batch norm."""
        return bool(options["norm"] == "noisy-batch")

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits every problem whose inputs are numbers. With shortcuts the depth must be odd."""
        residual, depth = options["residual"], options["depth"]
        reason = super().misfit(options, shape) or bad_initialization(options)
        if reason is None and options["norm"] == "none" and options["norm_position"] != "before":
            return "norm_position has no effect with norm = 'none': leave it out"
        if reason is None and residual != "none" and depth % 2 == 0:
            odd = f"{depth - 1} or {depth + 1}"
            return f"residual = {residual!r} needs an odd depth (one layer, then blocks of two): use {odd}"
        return reason

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Flatten, the hidden layers, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._blocks import Residual, dense, initialize

        width = options["width"]

        def layer(n_in: int) -> list[nn.Module]:
            return dense(n_in, width, options["activation"], options["norm"], options["norm_position"] == "after")

        layers: list[nn.Module] = [nn.Flatten(), *layer(prod(shape.input))]
        if options["residual"] == "none":
            for _ in range(options["depth"] - 1):
                layers += layer(width)
        else:
            blocks = (options["depth"] - 1) // 2
            scale = 1 / blocks if options["residual"] == "scaled" and blocks else 1.0
            layers += [Residual(nn.Sequential(*layer(width), *layer(width)), scale) for _ in range(blocks)]
        module = nn.Sequential(*layers, nn.Linear(width, prod(shape.output)))
        initialize(module, options)
        return module
