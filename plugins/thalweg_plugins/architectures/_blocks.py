"""Modules that the architectures are made of. Imports torch, so it is imported only when something is built."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
_NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class PointModule(nn.Module):
    """A vector of parameters of shape (d,); calling it gives the vector."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(d))

    def forward(self) -> Tensor:
        """The vector."""
        return self.x


def dense(n_in: int, n_out: int, activation: str, norm: str) -> list[nn.Module]:
    """A linear layer, its normalisation where there is one, and its activation."""
    normalisation = [_NORMS[norm](n_out)] if norm != "none" else []
    return [nn.Linear(n_in, n_out), *normalisation, _ACTIVATIONS[activation]()]


class Residual(nn.Module):
    """h + f(h) with f two dense layers."""

    def __init__(self, width: int, activation: str, norm: str) -> None:
        super().__init__()
        self.block = nn.Sequential(*dense(width, width, activation, norm), *dense(width, width, activation, norm))

    def forward(self, h: Tensor) -> Tensor:
        """h + f(h)."""
        out: Tensor = h + self.block(h)
        return out


@torch.no_grad()
def initialize(module: nn.Module, init: str) -> None:
    """Normal weights of the named variance and zero biases in every linear layer; "torch" leaves torch's own."""
    if init == "torch":
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            fan_out, fan_in = layer.weight.shape
            variance = {"he": 2 / fan_in, "glorot": 2 / (fan_in + fan_out), "fan-in": 1 / fan_in}[init]
            layer.weight.normal_(0, variance**0.5)
            layer.bias.zero_()
