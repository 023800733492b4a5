"""LeNet-5."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._misfits import no_image

if TYPE_CHECKING:
    from torch import nn


class LeNet(Architecture):
    """LeNet-5 in its modern form: max pooling, and a second convolution whose maps all see all maps of the first.

    A side shorter than the paper's 32 pixels is padded with two zeros at both ends, so that 28x28 becomes 32x32.
    Weights start at torch's default.
    """

    name = "lenet"
    summary = "LeNet-5: two convolutions with max pooling and three dense layers"
    equation = "conv 6@5x5, pool 2, conv 16@5x5, pool 2, dense 120, dense 84, linear"
    source = "LeCun et al. 1998, section II.B and figure 2"
    tasks = ("classification", "regression")
    options = (Option("activation", "relu", ("relu", "tanh"), "nonlinearity after each hidden layer"),)

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits images that leave a map after the second pooling."""
        return super().misfit(options, shape) or no_image(shape, 12)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The layers of figure 2, C1 to F6, and a linear output."""
        from torch import nn

        act = {"relu": nn.ReLU, "tanh": nn.Tanh}[options["activation"]]
        channels, *sides = shape.input
        padding = [2 if side < 32 else 0 for side in sides]
        # an unpadded convolution takes 4 from a side, pooling halves the side
        height, width = (((side + 2 * pad - 4) // 2 - 4) // 2 for side, pad in zip(sides, padding, strict=True))
        return nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=(padding[0], padding[1])),
            act(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            act(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * height * width, 120),
            act(),
            nn.Linear(120, 84),
            act(),
            nn.Linear(84, prod(shape.output)),
        )
