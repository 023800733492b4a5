"""One linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape

if TYPE_CHECKING:
    from torch import nn


class Linear(Architecture):
    """z = W x + b: multinomial logistic regression under cross-entropy."""

    name = "linear"
    summary = "one linear layer on the flattened input: logistic or linear regression"
    equation = "z = W x + b"
    options = (
        Option("bias", True, summary="whether the layer has the bias b"),
        Option("init", "torch", ("torch", "zero", "normal"), "torch's default, zeros, or normal weights with b = 0"),
        Option("scale", 1.0, "[0, inf)", "standard deviation of normal weights"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits every problem whose inputs are numbers."""
        if options["init"] != "normal" and options["scale"] != 1.0:
            return f"scale has no effect with init = {options['init']!r}: leave it out"
        return super().misfit(options, shape)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Flatten and one layer."""
        import torch
        from torch import nn

        layer = nn.Linear(prod(shape.input), prod(shape.output), bias=options["bias"])
        if options["init"] != "torch":
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter.zero_()
                if options["init"] == "normal":
                    layer.weight.normal_(0, options["scale"])
        return nn.Sequential(nn.Flatten(), layer)
