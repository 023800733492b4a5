"""Residual networks for small images, and the same networks without shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._misfits import no_depth, no_image

if TYPE_CHECKING:
    from torch import nn


class ResNet(Architecture):
    """A convolution, three stages of n blocks of two convolutions, average pooling and a linear output.

    The second and the third stage halve the image and double the channels. Shortcuts are of type A: they subsample, add
    channels of zeros, and have no parameters. ``shortcuts = false`` gives the plain net of He et al., which is the
    "noshort" net of Li et al. Convolutions before batch norm have no biases. Convolutions start He-normal, and the
    linear output starts at torch's default.
    """

    name = "resnet"
    summary = "residual network with 6n + 2 weight layers for small images, with or without shortcuts"
    equation = "h <- relu(s(h) + norm(conv(relu(norm(conv h))))), 3n times;  z = W mean(h) + b"
    source = (
        "He et al. 2016, section 4.2, shortcuts of option A; without shortcuts: Li et al. 2018; "
        "initialization: He et al. 2015, equation 10"
    )
    tasks = ("classification", "regression")
    options = (
        Option("depth", 20, "[8, inf)", "weight layers: 6n + 2, such as 8, 14, 20, 32, 44, 56 or 110"),
        Option("width", 16, "[1, inf)", "channels of the first stage"),
        Option("shortcuts", True, summary="whether a shortcut skips every block"),
        Option("norm", "batch", ("batch", "none"), "normalisation after each convolution"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits images that can be halved twice."""
        return super().misfit(options, shape) or no_image(shape, 4) or no_depth(options["depth"], 2)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The first convolution, the stages, pooling, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._convolutional import he_normal
        from thalweg_plugins.architectures._residual import Block, convolution

        batch_norm, width = options["norm"] == "batch", options["width"]
        layers = [*convolution(shape.input[0], width, 1, batch_norm), nn.ReLU()]
        channels = width
        for stage in range(3):
            for block in range((options["depth"] - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Block(channels, width * 2**stage, stride, batch_norm, options["shortcuts"]))
                channels = width * 2**stage
        module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, prod(shape.output)))
        he_normal(module, nn.Conv2d)
        return module
