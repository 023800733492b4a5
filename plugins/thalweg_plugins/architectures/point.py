"""The vector at which an analytic function is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Shape

if TYPE_CHECKING:
    from torch import nn


class Point(Architecture):
    """x itself; the problem sets where it starts."""

    name = "point"
    summary = "a vector of parameters: what an analytic function is a function of"
    equation = "x"
    tasks = ("function",)

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits analytic functions only."""
        return None if shape.task == "function" else "it is for analytic functions, and this problem has examples"

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Starts at zero until the problem moves it."""
        from thalweg_plugins.architectures._blocks import PointModule

        return PointModule(prod(shape.output))
