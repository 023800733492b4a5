"""A module's parameters as one vector (P,), or the parameters of K stacked members as rows (K, P)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Rows:
    """Reads and writes all parameters at once, so that an elementwise rule is a few operations on one tensor.

    Args:
        parameters: of shape (...), or (K, ...) where members are stacked.
        members: K, or None where nothing is stacked.

    >>> rows = Rows([nn.Parameter(torch.zeros(2, 3, 4)), nn.Parameter(torch.ones(2, 1))], members=2)
    >>> tuple(rows.weights().shape)
    (2, 13)
    """

    def __init__(self, parameters: Iterable[nn.Parameter], members: int | None = None) -> None:
        self._trained = [parameter for parameter in parameters if parameter.requires_grad]
        # a complex number is two real ones
        self.parameters: list[Tensor] = [_real(parameter) for parameter in self._trained]
        self._shape = (-1,) if members is None else (members, -1)
        self._shapes = [parameter.shape for parameter in self.parameters]
        self._widths = [shape.numel() // (members or 1) for shape in self._shapes]

    def weights(self) -> Tensor:
        """A copy of the parameters: (P,) or (K, P)."""
        return self._joined(self.parameters)

    def gradients(self) -> Tensor:
        """A copy of their gradients; a parameter that the loss does not depend on counts as zero."""
        return self._joined([_real(_dense(torch.zeros_like(p) if p.grad is None else p.grad)) for p in self._trained])

    def live(self) -> tuple[Tensor, Tensor]:
        """Weights and gradients that an optimizer may change: the memory of a single parameter itself, else copies."""
        if len(self.parameters) == 1 and not self._trained[0].is_complex():
            (parameter,) = self.parameters
            if parameter.is_contiguous() and (gradient := parameter.grad) is not None and gradient.is_contiguous():
                return parameter.detach().view(self._shape), gradient.view(self._shape)
        return self.weights(), self.gradients()

    @torch.no_grad()
    def write(self, values: Tensor) -> None:
        """Put (P,) or (K, P) numbers into the parameters; what ``live`` gave of a parameter itself is there already."""
        if len(self.parameters) == 1 and values.data_ptr() == self.parameters[0].data_ptr():
            return
        parts = torch.split(values, self._widths, -1)
        torch._foreach_copy_(
            self.parameters, [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]
        )

    def _joined(self, tensors: list[Tensor]) -> Tensor:
        return torch.cat([tensor.reshape(self._shape) for tensor in tensors], -1).detach()


def _dense(gradient: Tensor) -> Tensor:
    """An embedding's gradient may hold only the rows that were looked up: the others are zero."""
    return gradient.to_dense() if gradient.is_sparse else gradient


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor
