"""Three convolutions and three dense layers: the 3C3D of DeepOBS."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._misfits import inputs

if TYPE_CHECKING:
    from torch import nn

_KERNELS = (5, 3, 3)
_SMALLEST = 9


class ConvNet(Architecture):
    """Three convolutions, each with a ReLU and overlapping max pooling, then dense layers with ReLU.

    ``padding`` says whether the first two convolutions keep the size; the third always does. Pooling is 3 wide at
    stride 2 and halves a side, rounded up (TensorFlow's SAME). Sequences get the one-dimensional version of the layers.
    Only convolutions have batch norm. Weights start as in DeepOBS: Glorot normal in convolutions, Glorot uniform in
    dense layers, zero biases.
    """

    name = "convnet"
    summary = "three convolutions with pooling and three dense layers: 3C3D of DeepOBS; images and sequences"
    equation = "h <- pool(relu(norm(conv h))), 3 times;  h <- relu(W h + b) for each width;  z = W h + b"
    source = "Schneider et al. 2019 (DeepOBS), problem cifar10_3c3d; initialization: Glorot & Bengio 2010"
    tasks = ("classification", "regression")
    options = (
        Option("channels", (64, 96, 128), "[1, inf)", "channels of the three convolutions"),
        Option("widths", (512, 256), "[1, inf)", "units of each hidden dense layer"),
        Option("padding", "valid", ("valid", "same"), "padding of the first two convolutions; 'same' for small images"),
        Option("norm", "none", ("none", "batch"), "normalisation before the activation of each convolution"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits images and sequences that are large enough for three convolutions."""
        if reason := super().misfit(options, shape):
            return reason
        if len(shape.input) not in (2, 3):
            return (
                "it takes images (channels, height, width) or sequences (channels, length), "
                f"and this problem gives {inputs(shape)}: use 'mlp'"
            )
        _, *sides = shape.input
        if options["padding"] == "valid" and min(sides) < _SMALLEST:
            smallest, given = ("x".join(map(str, size)) for size in ([_SMALLEST] * len(sides), sides))
            told = f"it takes inputs of size {smallest} or more, and this problem gives {given}"
            return f"{told}: use padding = 'same'"
        if len(options["channels"]) != 3:
            return f"channels needs a number for each of three convolutions, but has {len(options['channels'])}"
        return None

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The convolutions, the dense layers, linear output."""
        from torch import nn

        channels, *sides = shape.input
        conv, norm, pool = (getattr(nn, f"{layer}{len(sides)}d") for layer in ("Conv", "BatchNorm", "MaxPool"))
        layers: list[nn.Module] = []
        paddings = (options["padding"], options["padding"], "same")
        for n_out, kernel, padding in zip(options["channels"], _KERNELS, paddings, strict=True):
            layers.append(conv(channels, n_out, kernel, padding=padding))
            if options["norm"] == "batch":
                layers.append(norm(n_out))
            layers.append(nn.ReLU())
            channels = n_out
            if padding == "valid":
                sides = [side - kernel + 1 for side in sides]
            # SAME pads an odd side at both ends. It pads an even side at the far end only, as ceil_mode does
            layers.append(pool(3, 2, padding=tuple(side % 2 for side in sides), ceil_mode=True))
            sides = [(side + 1) // 2 for side in sides]
        layers.append(nn.Flatten())
        width = channels * prod(sides)
        for next_width in options["widths"]:
            layers += [nn.Linear(width, next_width), nn.ReLU()]
            width = next_width
        layers.append(nn.Linear(width, prod(shape.output)))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, conv):
                nn.init.xavier_normal_(layer.get_parameter("weight"))
                nn.init.zeros_(layer.get_parameter("bias"))
        return nn.Sequential(*layers)
