"""Directions in weight space."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def random_direction(module: nn.Module, generator: torch.Generator) -> Tensor:
    """A standard normal vector of shape (P,), drawn on the CPU so that every device sees the same one."""
    parameters = list(module.parameters())
    size = sum(parameter.numel() for parameter in parameters)
    first = parameters[0]
    return torch.randn(size, generator=generator, dtype=first.dtype).to(first.device)


def filter_normalized(module: nn.Module, direction: Tensor) -> Tensor:
    """Rescale a direction filter by filter: d_f <- d_f / ||d_f|| ||w_f|| (Li et al. 2018, section 4).

    A filter is an output channel of a convolution or an output neuron of a dense layer: one index of a parameter's
    first dimension. One-dimensional parameters of layers (biases, batch norm) get direction zero. The vector of an
    analytic function, the only parameter of its module, counts as one filter.

    Args:
        module: holds the weights w that set the scale.
        direction: shape (P,), in the order of ``module.parameters()``.

    Returns:
        A new vector of shape (P,).
    """
    parameters = list(module.parameters())
    pieces = []
    for w, d in zip(parameters, _split(direction, parameters), strict=True):
        if w.dim() > 1:
            norms = d.flatten(1).norm(dim=1)
            scale = torch.where(norms > 0, w.detach().flatten(1).norm(dim=1) / norms, torch.zeros_like(norms))
            pieces.append((d * scale.view(-1, *[1] * (w.dim() - 1))).reshape(-1))
        elif len(parameters) == 1:
            pieces.append(d / d.norm() * w.detach().norm())
        else:
            pieces.append(torch.zeros_like(d).reshape(-1))
    return torch.cat(pieces)


def layer_normalized(module: nn.Module, direction: Tensor) -> Tensor:
    """Rescale a direction parameter by parameter: d_l <- d_l / ||d_l|| ||w_l||; one-dimensional ones as for filters."""
    parameters = list(module.parameters())
    pieces = []
    for w, d in zip(parameters, _split(direction, parameters), strict=True):
        norm = d.norm()
        counts = (w.dim() > 1 or len(parameters) == 1) and float(norm) > 0
        pieces.append((d / norm * w.detach().norm() if counts else torch.zeros_like(d)).reshape(-1))
    return torch.cat(pieces)


def _split(vector: Tensor, parameters: list[nn.Parameter]) -> Iterator[Tensor]:
    offset = 0
    for parameter in parameters:
        yield vector[offset : offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()
