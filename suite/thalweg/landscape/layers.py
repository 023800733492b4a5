"""Layers that take the place of a module's own where these save work from weight vector to weight vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd


class Combination:
    """The sum over j of c_j V_j of m tensors, written into one tensor.

    The sum without the busiest term is kept while its coordinates stay the same: on a plane it is valid for a row.

    Args:
        vectors: the V_j, shape (m, ...).
        busiest: the j whose coordinate changes most often.
        out: where the sum is written; None makes a tensor.

    >>> total = Combination(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), busiest=1)
    >>> total((2.0, 3.0)).tolist()
    [2.0, 3.0]
    """

    def __init__(self, vectors: Tensor, busiest: int, out: Tensor | None = None) -> None:
        self._moving, self._busiest = vectors[busiest], busiest
        self._quiet = [(j, vector) for j, vector in enumerate(vectors) if j != busiest]
        self._base = torch.zeros_like(self._moving)
        self._out = torch.empty_like(self._moving) if out is None else out
        self._others: tuple[float, ...] = ()

    def __call__(self, coordinates: tuple[float, ...]) -> Tensor:
        """The sum; the next call overwrites it."""
        j = self._busiest
        others = coordinates[:j] + coordinates[j + 1 :]
        if others != self._others:
            for number, (i, vector) in enumerate(self._quiet):
                if number == 0:
                    torch.mul(vector, coordinates[i], out=self._base)
                else:
                    self._base.add_(vector, alpha=coordinates[i])
            self._others = others
        return torch.add(self._base, self._moving, alpha=coordinates[j], out=self._out)


class First(nn.Module):
    """A first layer, or in its place the sum over j of c_j F_j, with the layer's outputs F_j at m spanning vectors."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.outputs: Tensor | None = None
        self.coordinates: Tensor | tuple[float, ...] = ()

    def begin(self, outputs: Tensor, busiest: int) -> None:
        """Use the outputs F (m, N, ...) from now on."""
        self.outputs = outputs
        self._sum = Combination(outputs, busiest)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs (N, ...) at ``coordinates``."""
        if self.outputs is None:
            out: Tensor = self.layer(x)
            return out
        if isinstance(self.coordinates, Tensor):
            return (self.coordinates @ self.outputs.flatten(1)).view(self.outputs.shape[1:])
        return self._sum(self.coordinates)


class Narrow(nn.Module):
    """A linear layer that computes (W x')' for inputs in rows. The outputs lie class by class in memory."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs (N, C)."""
        if x.dim() != 2:
            out: Tensor = self.layer(x)
            return out
        weight, bias = self.layer.weight, self.layer.bias
        return (weight @ x.T if bias is None else torch.addmm(bias[:, None], weight, x.T)).T


class Folded(nn.Module):
    """A convolution or linear layer and the batch norm after it, as one layer: s W x + (s (b - mean) + beta)."""

    def __init__(self, layer: _ConvNd | nn.Linear, norm: _BatchNorm) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of layer and norm."""
        layer, norm = self.layer, self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if isinstance(layer, nn.Linear) and x.dim() > 2:
            # on sequences, batch norm after a linear layer normalises positions instead of the layer's outputs
            out: Tensor = norm(layer(x))
            return out
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.affine:
            scale = scale * norm.weight
        shift = -norm.running_mean if layer.bias is None else layer.bias - norm.running_mean
        bias = scale * shift + norm.bias if norm.affine else scale * shift
        weight = layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1))
        if isinstance(layer, nn.Linear):
            return functional.linear(x, weight, bias)
        return layer._conv_forward(x, weight, bias)
