"""A deep autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._dense import ACTIVATION, bad_initialization, initialization

if TYPE_CHECKING:
    from torch import nn


class Autoencoder(Architecture):
    """An encoder of declared widths down to a linear code, and its mirror image up to one logit for each input."""

    name = "autoencoder"
    summary = "a deep autoencoder: layers down to a narrow linear code and back up"
    equation = "h <- act(W h + b) down the widths, linear at the last;  the same widths upwards;  z = W h + b"
    source = "Hinton & Salakhutdinov 2006; with these widths on MNIST: Martens & Grosse 2015, section 13"
    tasks = ("autoencoding",)
    options = (
        Option("widths", (1000, 500, 250, 30), "[1, inf)", "units of the encoder's layers; the last is the code"),
        Option("activation", "tanh", ACTIVATION.allowed, ACTIVATION.summary),
        *initialization("glorot"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits autoencoding problems."""
        return super().misfit(options, shape) or bad_initialization(options)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Encoder, code, decoder, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._blocks import dense, initialize

        *hidden, code = options["widths"]
        encoder, decoder = (prod(shape.input), *hidden), (code, *reversed(hidden))

        def layers(widths: tuple[int, ...]) -> list[nn.Module]:
            return [layer for n_in, n_out in pairwise(widths) for layer in dense(n_in, n_out, options["activation"])]

        module = nn.Sequential(
            nn.Flatten(),
            *layers(encoder),
            nn.Linear(encoder[-1], code),
            *layers(decoder),
            nn.Linear(decoder[-1], prod(shape.output)),
        )
        initialize(module, options)
        return module
