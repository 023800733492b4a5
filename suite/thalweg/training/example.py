"""Inputs of a given shape, for questions whose answer does not depend on the data."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.contracts import Shape


def example_inputs(shape: Shape, n: int) -> Tensor:
    """A batch of ``n`` inputs: standard normal numbers, numbers in [0, 1] for autoencoders, or tokens."""
    generator = torch.Generator().manual_seed(0)
    if shape.task == "language":
        return torch.randint(shape.output[-1], (n, *shape.input), generator=generator)
    if shape.task == "autoencoding":
        return torch.rand(n, *shape.input, generator=generator)
    return torch.randn(n, *shape.input, generator=generator)
