"""Wide residual networks."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._misfits import no_depth, no_image

if TYPE_CHECKING:
    from torch import nn


class WideResNet(Architecture):
    """A convolution, three stages of n pre-activation blocks, batch norm, ReLU, average pooling and a linear output.

    WRN-d-k has ``depth = d`` and ``widen = k``: stages of 16k, 32k and 64k channels. Where the channels or the size
    change, the shortcut is a 1x1 convolution. Convolutions start He-normal, and the linear output starts at torch's
    default.
    """

    name = "wide-resnet"
    summary = "wide residual network WRN-depth-widen with pre-activation blocks and batch norm"
    equation = "h <- h + conv(dropout(relu(norm(conv(relu(norm h)))))), 3n times;  z = W mean(relu(norm h)) + b"
    source = "Zagoruyko & Komodakis 2016, table 1; initialization: He et al. 2015, equation 10"
    tasks = ("classification", "regression")
    options = (
        Option("depth", 16, "[10, inf)", "6n + 4 for n blocks in a stage, such as 10, 16, 22, 28 or 40"),
        Option("widen", 4, "[1, inf)", "factor k in the stages' channels 16k, 32k and 64k"),
        Option("dropout", 0.0, "[0, 1)", "probability that a value between a block's convolutions is dropped"),
    )

    def draws_in_forward(self, options: Mapping[str, Any]) -> bool:
        """Dropout does."""
        return bool(options["dropout"] > 0)

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits images that can be halved twice."""
        return super().misfit(options, shape) or no_image(shape, 4) or no_depth(options["depth"], 4)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The first convolution, the stages, batch norm, pooling, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._convolutional import he_normal
        from thalweg_plugins.architectures._residual import PreActivationBlock

        layers: list[nn.Module] = [nn.Conv2d(shape.input[0], 16, 3, padding=1, bias=False)]
        channels = 16
        for stage in range(3):
            n_out = 16 * options["widen"] * 2**stage
            for block in range((options["depth"] - 4) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(PreActivationBlock(channels, n_out, stride, options["dropout"]))
                channels = n_out
        module = nn.Sequential(
            *layers,
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, prod(shape.output)),
        )
        he_normal(module, nn.Conv2d)
        return module
