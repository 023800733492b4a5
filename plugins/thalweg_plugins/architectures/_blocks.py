"""Modules that the dense architectures are made of. Imports torch, so it is imported only when something is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class PointModule(nn.Module):
    """A vector of parameters of shape (d,); calling it gives the vector."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(d))

    def forward(self) -> Tensor:
        """The vector."""
        return self.x


class NoActivation(nn.Identity):
    """What stands in a deep linear network where others have an activation."""

    is_activation = True


class NoisyBatchNorm(nn.Module):
    """Batch norm, and after it in training a shift and a scale that are drawn anew at every step.

    For unit j a mean mu_j ~ U(-0.5, 0.5) and a deviation s_j ~ U(1, 1.25); for example i and unit j then
    m_ij ~ U(mu_j - 0.1, mu_j + 0.1) and d_ij ~ N(s_j, 0.1^2), and the output is d_ij y_ij + m_ij (Santurkar et al.
    2018, appendix A). It has the covariate shift that batch norm is said to take away.
    """

    MEAN, DEVIATION, SPREAD = 0.5, 1.25, 0.1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, h: Tensor) -> Tensor:
        """Normalise, then disturb in training."""
        y: Tensor = self.norm(h)
        if not self.training:
            return y
        mean = torch.empty_like(y[0]).uniform_(-self.MEAN, self.MEAN)
        deviation = torch.empty_like(y[0]).uniform_(1, self.DEVIATION)
        shift = mean + torch.empty_like(y).uniform_(-self.SPREAD, self.SPREAD)
        scale = deviation + self.SPREAD * torch.randn_like(y)
        return scale * y + shift


_NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "noisy-batch": NoisyBatchNorm}


def dense(n_in: int, n_out: int, activation: str, norm: str = "none", norm_after: bool = False) -> list[nn.Module]:
    """A linear layer, its normalisation where there is one, and its activation."""
    layers: list[nn.Module] = [nn.Linear(n_in, n_out), _ACTIVATIONS[activation]()]
    if norm != "none":
        layers.insert(2 if norm_after else 1, _NORMS[norm](n_out))
    return layers


class Residual(nn.Module):
    """h + scale f(h)."""

    def __init__(self, block: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.block = block
        self.scale = scale

    def forward(self, h: Tensor) -> Tensor:
        """h + scale f(h)."""
        out: Tensor = torch.add(h, self.block(h), alpha=self.scale)
        return out


class Maxout(nn.Module):
    """(N, units * pieces) -> (N, units): the largest of each unit's pieces."""

    is_activation = True

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, h: Tensor) -> Tensor:
        """The maximum over each ``pieces`` neighbours."""
        return h.view(*h.shape[:-1], -1, self.pieces).amax(-1)


@torch.no_grad()
def initialize(module: nn.Module, options: Mapping[str, Any]) -> None:
    """Weights of every linear layer as the options ``init``, ``gain``, ``low`` and ``high`` say, and zero biases.

    ``init = "torch"`` leaves torch's own.
    """
    init = options["init"]
    if init == "torch":
        return
    for layer in module.modules():
        if not isinstance(layer, nn.Linear):
            continue
        fan_out, fan_in = layer.weight.shape
        if init == "orthogonal":
            nn.init.orthogonal_(layer.weight)
        elif init in ("uniform", "signed-uniform"):
            layer.weight.uniform_(options["low"], options["high"])
            if init == "signed-uniform":
                layer.weight.mul_(torch.randint(0, 2, layer.weight.shape).to(layer.weight).mul_(2).sub_(1))
        else:
            variance = {"he": 2 / fan_in, "glorot": 2 / (fan_in + fan_out), "fan-in": 1 / fan_in}[init]
            layer.weight.normal_(0, variance**0.5)
        layer.weight.mul_(options["gain"])
        if layer.bias is not None:
            layer.bias.zero_()
