"""VGG networks for small images."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._misfits import either, no_image

if TYPE_CHECKING:
    from torch import nn

_STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    9: ((64, 64), (128, 128), (256, 256, 256)),
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
_DENSE = {9: (256,), 11: (512, 512), 16: (512, 512)}


class VGG(Architecture):
    """Stages of 3x3 convolutions, each halving the image by max pooling, then hidden dense layers and a linear output.

    Depth counts all weight layers. Depths 11 and 16 have the convolutions of the paper's configurations A and D, and
    two hidden layers of 512 units in place of 4096. Depth 9 has the layers of the VGG-9 of Li et al. 2018: seven
    convolutions in three stages and one hidden layer of 256, without the batch norm that Li et al. have there. Pooling
    rounds up, so that a side of one pixel stays one pixel and every image fits. Dropout follows the hidden dense
    layers. Only convolutions have batch norm. Weights start He-normal, biases at zero.
    """

    name = "vgg"
    summary = "VGG with 9, 11 or 16 weight layers for small images"
    equation = "h <- pool(relu(norm(conv3x3 h)), once or more), each stage;  h <- relu(W h + b);  z = W h + b"
    source = (
        "Simonyan & Zisserman 2015, table 1, configurations A and D; depth 9: Li et al. 2018 (the authors' code); "
        "initialization: He et al. 2015, equation 10"
    )
    tasks = ("classification", "regression")
    options = (
        Option("depth", 11, "[1, inf)", f"weight layers: {either(list(_STAGES))}"),
        Option("norm", "none", ("none", "batch"), "normalisation before the activation of each convolution"),
        Option("dropout", 0.0, "[0, 1)", "probability that a hidden dense unit is dropped"),
    )

    def draws_in_forward(self, options: Mapping[str, Any]) -> bool:
        """Dropout does."""
        return bool(options["dropout"] > 0)

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits images of any size."""
        if reason := super().misfit(options, shape) or no_image(shape, 1):
            return reason
        depth = options["depth"]
        return None if depth in _STAGES else f"it has no depth = {depth}: use {either(list(_STAGES))}"

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The stages, the dense layers, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._convolutional import he_normal

        channels, *sides = shape.input
        layers: list[nn.Module] = []
        for stage in _STAGES[options["depth"]]:
            for n_out in stage:
                layers.append(nn.Conv2d(channels, n_out, 3, padding=1))
                if options["norm"] == "batch":
                    layers.append(nn.BatchNorm2d(n_out))
                layers.append(nn.ReLU())
                channels = n_out
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            sides = [(side + 1) // 2 for side in sides]
        layers.append(nn.Flatten())
        width = channels * prod(sides)
        for units in _DENSE[options["depth"]]:
            layers += [nn.Linear(width, units), nn.ReLU()]
            if options["dropout"] > 0:
                layers.append(nn.Dropout(options["dropout"]))
            width = units
        module = nn.Sequential(*layers, nn.Linear(width, prod(shape.output)))
        he_normal(module, nn.Conv2d, nn.Linear)
        return module
