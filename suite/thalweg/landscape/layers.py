"""Layers that take the place of a module's own where these save work from weight vector to weight vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from thalweg.contracts.products import linear


class Combination:
    """The sum over j of c_j V_j of m tensors, written into one tensor.

    The sum without the busiest term is kept while its coordinates stay the same: on a plane it is valid for a row.

    Args:
        vectors: the V_j, shape (m, ...).
        out: where the sum is written; None makes a tensor.

    >>> total = Combination(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> total((2.0, 3.0)).tolist()
    [2.0, 3.0]
    """

    def __init__(self, vectors: Tensor, out: Tensor | None = None) -> None:
        self._vectors = vectors
        self._base = torch.zeros_like(vectors[0])
        self._out = torch.empty_like(vectors[0]) if out is None else out
        self.turn(0)

    def turn(self, busiest: int) -> None:
        """Say which coordinate changes most often from one sum to the next."""
        self._moving, self._busiest = self._vectors[busiest], busiest
        self._quiet = [(j, vector) for j, vector in enumerate(self._vectors) if j != busiest]
        self._others: tuple[float, ...] | None = None

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
        self.at: list[Tensor | tuple[float, ...]] = [()]
        """The coordinates, in a list because a module takes its time to set an attribute."""

    def begin(self, outputs: Tensor) -> None:
        """Use the outputs F (m, N, ...) from now on."""
        self.outputs = outputs
        self.sum = Combination(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs (N, ...) at the coordinates."""
        if self.outputs is None:
            out: Tensor = self.layer(x)
            return out
        (coordinates,) = self.at
        if isinstance(coordinates, Tensor):
            return (coordinates @ self.outputs.flatten(1)).view(self.outputs.shape[1:])
        return self.sum(coordinates)


class Unfolded(nn.Module):
    """A first convolution of images as a product with the patches of its inputs, which stay the same.

    For few numbers a patch (one or three channels) the product takes a fourth of the convolution's time on a CPU. Its
    outputs have their channels last in memory.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self._patches: Tensor | None = None
        self._shape: tuple[int, ...] = ()

    def begin(self, x: Tensor) -> None:
        """Use the patches of inputs (N, C, H, W) on a CPU from now on; elsewhere convolve."""
        self._patches = None
        if x.device.type != "cpu" or x.dim() != 4:
            return
        layer = self.layer
        patches = functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
        self._patches = patches.transpose(1, 2).flatten(0, 1).contiguous()
        self._shape = (len(x), *layer(x[:1]).shape[2:], layer.out_channels)

    @property
    def weight(self) -> Tensor:
        """The convolution's weight."""
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        """The convolution's bias."""
        return self.layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """The convolution's outputs (N, C, H, W)."""
        return self._conv_forward(x, self.layer.weight, self.layer.bias)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._patches is None:
            out: Tensor = self.layer._conv_forward(x, weight, bias)
            return out
        return linear(self._patches, weight.flatten(1), bias).view(self._shape).permute(0, 3, 1, 2)


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
    """A convolution or linear layer and the batch norm after it, as one layer: s W x + (s (b - mean) + beta).

    Args:
        layer: the layer.
        norm: its batch norm.
        steady: whether the norm's statistics never change, so that 1 / sqrt(var + eps) is computed once.
    """

    def __init__(self, layer: _ConvNd | nn.Linear | Unfolded, norm: _BatchNorm, steady: bool) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        self._inverse = self._inverse_deviation() if steady else None

    def _inverse_deviation(self) -> Tensor:
        assert self.norm.running_var is not None
        return torch.rsqrt(self.norm.running_var + self.norm.eps)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of layer and norm."""
        layer, norm = self.layer, self.norm
        assert norm.running_mean is not None
        if isinstance(layer, nn.Linear) and x.dim() > 2:
            # on sequences, batch norm after a linear layer normalises positions instead of the layer's outputs
            out: Tensor = norm(layer(x))
            return out
        scale = self._inverse_deviation() if self._inverse is None else self._inverse
        if norm.affine:
            scale = scale * norm.weight
        shift = -norm.running_mean if layer.bias is None else layer.bias - norm.running_mean
        bias = torch.addcmul(norm.bias, scale, shift) if norm.affine else scale * shift
        weight = layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1))
        if isinstance(layer, nn.Linear):
            return linear(x, weight, bias)
        return layer._conv_forward(x, weight, bias)
