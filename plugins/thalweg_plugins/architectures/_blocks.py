"""The modules of the dense architectures. Imports torch, so it is imported only when an architecture is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class PointModule(nn.Module):
    """A vector of parameters of shape (d,), which its call returns."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(d))

    def forward(self) -> Tensor:
        """The vector."""
        return self.x


class PiecesModule(nn.Module):
    """A vector of parameters of shape (d,) in several tensors of consecutive numbers, as equal in size as d allows."""

    def __init__(self, d: int, tensors: int) -> None:
        super().__init__()
        self.pieces = nn.ParameterList(torch.zeros(d).tensor_split(tensors))

    def forward(self) -> Tensor:
        """The vector."""
        return torch.cat(list(self.pieces))


class NoActivation(nn.Identity):
    """The identity, which a deep linear network has in place of an activation."""

    is_activation = True


class NoisyBatchNorm(nn.Module):
    """Batch norm, followed in training by a random shift and scale, drawn anew at every step.

    Each step draws for unit j a mean mu_j ~ U(-0.5, 0.5) and a deviation s_j ~ U(1, 1.25). Then it draws for example i
    and unit j m_ij ~ U(mu_j - 0.1, mu_j + 0.1) and d_ij ~ N(s_j, 0.1^2). The output is d_ij y_ij + m_ij (Santurkar et
    al. 2018, appendix A). So the activations have the covariate shift that batch norm is supposed to reduce.
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
    """A linear layer, its normalisation if any, and its activation."""
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
    """(N, units * pieces) -> (N, units): the maximum of each unit's pieces."""

    is_activation = True

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, h: Tensor) -> Tensor:
        """The maximum over each group of ``pieces`` neighbours."""
        return h.view(*h.shape[:-1], -1, self.pieces).amax(-1)


@torch.no_grad()
def initialize(module: nn.Module, options: Mapping[str, Any]) -> None:
    """Set every linear layer's weights by the options ``init``, ``gain``, ``low`` and ``high``, and its biases to zero.

    ``init = "torch"`` leaves torch's initialization.
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
