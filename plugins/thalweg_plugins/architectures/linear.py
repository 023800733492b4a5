"""One linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Shape

if TYPE_CHECKING:
    from torch import nn


class Linear(Architecture):
    """z = W x + b: multinomial logistic regression under cross-entropy."""

    name = "linear"
    summary = "one linear layer on the flattened input: logistic or linear regression"
    equation = "z = W x + b"

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Starts at torch's default initialization."""
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape.input), prod(shape.output)))
