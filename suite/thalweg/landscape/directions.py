"""Directions in weight space.

A direction is a vector (P,) in the order of ``flat``: all parameters, with complex parameters as real and imaginary
parts. It is zero for frozen parameters, which training does not move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from thalweg.contracts.real import as_real, real_count, real_dtype


def random_direction(module: nn.Module, generator: torch.Generator) -> Tensor:
    """A standard normal vector of shape (P,), drawn on the CPU, so that it is equal on every device."""
    parameters = list(module.parameters())
    size = sum(map(real_count, parameters))
    drawn = torch.randn(size, generator=generator, dtype=real_dtype(parameters)).to(parameters[0].device)
    pieces = [
        (d if p.requires_grad else torch.zeros_like(d)).reshape(-1)
        for d, p in zip(_split(drawn, parameters), parameters, strict=True)
    ]
    return torch.cat(pieces)


def with_frozen(module: nn.Module, direction: Tensor) -> Tensor:
    """A vector over the trained parameters, extended to shape (P,) by zeros for frozen parameters.

    >>> net = nn.Sequential(nn.Linear(1, 1).requires_grad_(False), nn.Linear(1, 1))
    >>> with_frozen(net, torch.tensor([3.0, 4.0])).tolist()
    [0.0, 0.0, 3.0, 4.0]
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    pieces = _split(direction, trained)
    return torch.cat(
        [
            next(pieces).reshape(-1) if parameter.requires_grad else direction.new_zeros(real_count(parameter))
            for parameter in module.parameters()
        ]
    )


def scaled_parameters(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters that a direction changes: trained parameters of at least two dimensions.

    So biases and normalisation do not change (Li et al. 2018). Where no trained parameter has two dimensions (an
    analytic function, a network of vectors, a frozen body with trained biases), each trained parameter is one filter.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return [parameter for parameter in trained if parameter.dim() > 1] or trained


def filter_normalized(module: nn.Module, direction: Tensor) -> Tensor:
    """Rescale a direction filter by filter: d_f <- d_f / ||d_f|| ||w_f|| (Li et al. 2018, section 4).

    A filter is an output channel of a convolution or an output neuron of a dense layer: one index of a parameter's
    first dimension. A vector among ``scaled_parameters`` is one filter. Other parameters get direction zero.

    Args:
        module: holds the weights w that set the scale.
        direction: shape (P,), in the order of ``module.parameters()``.

    Returns:
        A new vector of shape (P,).
    """

    def scaled(d: Tensor, w: Tensor) -> Tensor:
        if w.dim() < 2:
            return _to_length_of(d, w)
        norms = d.flatten(1).norm(dim=1)
        scale = torch.where(norms > 0, w.flatten(1).norm(dim=1) / norms, torch.zeros_like(norms))
        return d * scale.view(-1, *[1] * (w.dim() - 1))

    return _rescaled(module, direction, scaled)


def layer_normalized(module: nn.Module, direction: Tensor) -> Tensor:
    """Rescale a direction parameter by parameter, for ``scaled_parameters``: d_l <- d_l / ||d_l|| ||w_l||."""
    return _rescaled(module, direction, _to_length_of)


def _rescaled(module: nn.Module, direction: Tensor, scaled: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    parameters = list(module.parameters())
    chosen = {id(parameter) for parameter in scaled_parameters(parameters)}
    return torch.cat(
        [
            (scaled(d, as_real(w.detach())) if id(w) in chosen else torch.zeros_like(d)).reshape(-1)
            for d, w in zip(_split(direction, parameters), parameters, strict=True)
        ]
    )


def _to_length_of(d: Tensor, w: Tensor) -> Tensor:
    norm = d.norm()
    return d / norm * w.norm() if float(norm) > 0 else torch.zeros_like(d)


def _split(vector: Tensor, parameters: Sequence[nn.Parameter]) -> Iterator[Tensor]:
    """The part of a vector for each parameter, in the shape of the parameter's real numbers."""
    pieces = torch.split(vector, [real_count(parameter) for parameter in parameters])
    for piece, parameter in zip(pieces, parameters, strict=True):
        yield piece.view_as(as_real(parameter.detach()))
