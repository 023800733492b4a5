"""The layers that K-FAC covers in K members at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from thalweg.contracts.stacked import product, room
from thalweg_plugins.optimizers.natural._kfac_layers import Layer


def column(numbers: Tensor, like: Tensor) -> Tensor:
    """A number of each member (K,) in the precision of a tensor (K, ...), to multiply the tensor by."""
    return numbers.to(like).view(-1, *[1] * (like.dim() - 1))


class MembersLayer:
    """One covered layer of K members: their matrices (K, out, in), with the biases as last column where it has them."""

    def __init__(self, layer: Layer) -> None:
        self.name = layer.name
        names = ["weight", "bias"] if layer.has_bias else ["weight"]
        self.parameters = [f"{layer.name}.{name}" if layer.name else name for name in names]
        """The names that weight and bias have in a member."""
        self._shapes = layer.shapes

    def matrix(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The layer's tensors as matrices (K, out, in + bias); ``tensors`` has each parameter (K, ...) by name."""
        weight, *bias = (tensors[name].flatten(2) if index == 0 else tensors[name].unsqueeze(2)
                         for index, name in enumerate(self.parameters))  # fmt: skip
        return torch.cat([weight, *bias], 2)

    def split(self, matrix: Tensor) -> dict[str, Tensor]:
        """Matrices (K, out, in + bias) as tensors in the shapes of the layer's parameters, by name."""
        if len(self.parameters) == 1:
            return {self.parameters[0]: matrix.view(-1, *self._shapes[0])}
        # in memory of its own: a product's bits may depend on the distance of two rows
        weight = matrix[:, :, :-1].contiguous().view(-1, *self._shapes[0])
        return dict(zip(self.parameters, (weight, matrix[:, :, -1].contiguous()), strict=True))

    def input_factor(self, rows: Tensor) -> Tensor:
        """A (K, in + bias, in + bias): the mean of a a' over rows (K, M, in), each with a one appended for the bias."""
        moments, count = product(rows.mT, rows), rows.shape[1]
        if len(self.parameters) == 1:
            return moments.div_(count)
        size = rows.shape[2]
        factor = room(moments, (len(rows), size + 1, size + 1))
        factor[:, :-1, :-1] = moments
        factor[:, :-1, -1] = factor[:, -1, :-1] = rows.sum(1)
        factor[:, -1, -1] = count
        return factor.div_(count)
