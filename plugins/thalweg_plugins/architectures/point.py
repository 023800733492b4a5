"""The argument of an analytic function."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape

if TYPE_CHECKING:
    from torch import nn


class Point(Architecture):
    """The argument x of an analytic function, as a vector of parameters. The problem sets its start."""

    name = "point"
    summary = "a vector of parameters, the argument of an analytic function"
    equation = "x"
    tasks = ("function",)
    options = (Option("tensors", 1, "[1, inf)", "number of tensors that hold x, as layers hold a network's weights"),)

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits analytic functions only."""
        if shape.task != "function":
            return "it fits analytic functions only, but this problem has examples"
        size = prod(shape.output)
        return None if options["tensors"] <= size else f"{size} variables fill at most {size} tensors"

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """A vector of zeros, which the problem moves to its start."""
        from thalweg_plugins.architectures._blocks import PiecesModule, PointModule

        d, tensors = prod(shape.output), options["tensors"]
        return PointModule(d) if tensors == 1 else PiecesModule(d, tensors)
