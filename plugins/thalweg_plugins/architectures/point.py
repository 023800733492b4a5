"""The argument of an analytic function."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Shape

if TYPE_CHECKING:
    from torch import nn


class Point(Architecture):
    """The argument x of an analytic function, as a vector of parameters. The problem sets its start."""

    name = "point"
    summary = "a vector of parameters, the argument of an analytic function"
    equation = "x"
    tasks = ("function",)

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits analytic functions only."""
        return None if shape.task == "function" else "it fits analytic functions only, but this problem has examples"

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """A vector of zeros, which the problem moves to its start."""
        from thalweg_plugins.architectures._blocks import PointModule

        return PointModule(prod(shape.output))
