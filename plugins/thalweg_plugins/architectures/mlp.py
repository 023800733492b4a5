"""A multi-layer perceptron with layers of declared widths."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape

if TYPE_CHECKING:
    from torch import nn

ACTIVATION = Option("activation", "relu", ("relu", "tanh", "gelu"), "nonlinearity after each hidden layer")
NORM = Option("norm", "none", ("none", "batch", "layer"), "normalisation before the activation")
INIT = Option(
    "init",
    "he",
    ("he", "glorot", "fan-in", "torch"),
    "weights normal with variance 2/fan_in (he), 2/(fan_in + fan_out) (glorot) or 1/fan_in (fan-in) and zero biases; "
    "or torch's own default",
)


class MLP(Architecture):
    """Hidden layers of declared widths, each followed by a normalisation and an activation, and a linear output."""

    name = "mlp"
    summary = "fully connected layers of declared widths"
    equation = "h <- act(norm(W h + b)) for each width;  z = W h + b"
    source = "initialization: He et al. 2015, equation 10; Glorot & Bengio 2010, equation 12"
    options = (Option("widths", (64, 64), "[1, inf)", "units of each hidden layer"), ACTIVATION, NORM, INIT)

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """Flatten, hidden layers, linear output."""
        from torch import nn

        from thalweg_plugins.architectures._blocks import dense, initialize

        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape.input)
        for next_width in options["widths"]:
            layers += dense(width, next_width, options["activation"], options["norm"])
            width = next_width
        module = nn.Sequential(*layers, nn.Linear(width, prod(shape.output)))
        initialize(module, options["init"])
        return module
