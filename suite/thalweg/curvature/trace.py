"""The trace of a matrix that is given by its products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.special import stdtrit
from torch import Tensor

Products = Callable[[Tensor], Tensor]
"""The products of a symmetric matrix with each row of (K, P), such as ``operator.products``."""


@dataclass(frozen=True)
class TraceEstimate:
    """A number estimated from random vectors; ``standard_error`` is nan where one vector was drawn."""

    value: float
    standard_error: float
    products: int
    samples: int
    """The number of independent samples whose mean is the estimate."""

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """value -+ t standard_error, with Student's t of ``samples`` - 1 degrees of freedom; nan for one sample."""
        if self.samples < 2:
            return math.nan, math.nan
        half = float(stdtrit(self.samples - 1, (1 + level) / 2)) * self.standard_error
        return self.value - half, self.value + half


def rademacher(count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """(count, P) numbers that are 1 or -1 with probability 1/2, typed and placed as ``like`` (P,)."""
    # bytes are the same draws as whole numbers, and an eighth of their memory
    bits = torch.randint(2, (count, len(like)), generator=generator, device=generator.device, dtype=torch.uint8)
    return bits.to(like).mul_(2).sub_(1)


def hutchinson(products: Products, like: Tensor, samples: int, generator: torch.Generator) -> TraceEstimate:
    """tr A as the mean of z'Az over Rademacher vectors z, one product each.

    The standard error is the samples' deviation over the root of their number. ``like`` (P,) says size, type, device.

    Source: Hutchinson 1990.

    >>> a = torch.diag(torch.tensor([1.0, 2.0, 5.0]))
    >>> hutchinson(lambda rows: rows @ a, a[0], 4, torch.Generator().manual_seed(0))  # exact for a diagonal matrix
    TraceEstimate(value=8.0, standard_error=0.0, products=4, samples=4)
    """
    if samples < 1:
        raise ValueError(f"samples = {samples}: it must be 1 or more")
    z = rademacher(samples, like, generator)
    return _mean((z * products(z)).sum(1), 0.0, samples)


def hutch_plus_plus(products: Products, like: Tensor, samples: int, generator: torch.Generator) -> TraceEstimate:
    """tr A = tr(Q'AQ) + tr((I - QQ')A(I - QQ')): the first part exactly, the second by Hutchinson's method.

    Q is an orthonormal basis of A's products with a third of the ``samples`` vectors; a third of the products finds it,
    a third is spent on each part. Exact where A's rank is at most samples / 3. ``like`` (P,) says size, type, device.

    Source: Meyer, Musco, Musco & Woodruff 2021, algorithm 1.
    """
    third = samples // 3
    if third < 1:
        raise ValueError(f"Hutch++ needs at least 3 samples, got {samples}")
    q = torch.linalg.qr(products(rademacher(third, like, generator)).T).Q.T
    z = rademacher(third, like, generator)
    z = z - (z @ q.T) @ q
    exact = float((q * products(q)).sum())
    return _mean((z * products(z)).sum(1), exact, third + len(q) + third)


def _mean(values: Tensor, offset: float, products: int) -> TraceEstimate:
    values = values.double()
    n = len(values)
    error = float(values.std()) / math.sqrt(n) if n > 1 else math.nan
    return TraceEstimate(offset + float(values.mean()), error, products, n)
