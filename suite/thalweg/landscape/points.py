"""Sequences of weight vectors. The points of a line, a plane or another span are computed a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.contracts.modes import batch_norms
from thalweg.contracts.real import as_real


class Span:
    """The K points sum_j c_kj v_j of m vectors v_j (P,). Each point is computed when it is used.

    Args:
        vectors: shape (m, P).
        coordinates: the c_kj, shape (K, m). Where one coordinate is 1 and the others 0, the point is its vector
        exactly.

    >>> points = Span(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 2.0]]))
    >>> [point.tolist() for point in points]
    [[1.0, 0.0], [0.5, 2.0]]
    """

    def __init__(self, vectors: Tensor, coordinates: Tensor) -> None:
        if coordinates.dim() != 2 or vectors.dim() != 2 or coordinates.shape[1] != len(vectors):
            raise ValueError(
                f"shape mismatch: vectors {tuple(vectors.shape)} and coordinates {tuple(coordinates.shape)}, "
                "expected (m, P) and (K, m)"
            )
        self.vectors = vectors
        self.coordinates = coordinates.to(vectors)

    def __len__(self) -> int:
        return len(self.coordinates)

    def __iter__(self) -> Iterator[Tensor]:
        for row in self.coordinates:
            yield row @ self.vectors


class Line(Span):
    """The points (1 - t) start + t end for each t; exactly the ends for t = 0 and t = 1."""

    def __init__(self, start: Tensor, end: Tensor, t: Sequence[float]) -> None:
        at = torch.tensor(t, dtype=torch.float64)
        super().__init__(torch.stack([start, end]), torch.stack([1 - at, at], 1))


class Plane(Span):
    """The points center + x d1 + y d2; point number i * len(x) + j is (x[j], y[i])."""

    def __init__(self, center: Tensor, d1: Tensor, d2: Tensor, x: Sequence[float], y: Sequence[float]) -> None:
        at = np.ones((len(y), len(x), 3))
        at[:, :, 1], at[:, :, 2] = np.asarray(x, float), np.asarray(y, float)[:, None]
        super().__init__(torch.stack([center, d1, d2]), torch.from_numpy(at.reshape(-1, 3)))


def flat(module: nn.Module) -> Tensor:
    """A module's parameters, frozen parameters included, as one detached vector (P,) of real numbers.

    Each entry of a complex parameter becomes its real and its imaginary part, next to each other.
    """
    return torch.cat([as_real(parameter.detach()).reshape(-1) for parameter in module.parameters()])


def flat_from(module: nn.Module, state: dict[str, Tensor], statistics: bool = False) -> Tensor:
    """The parameters of a state dict as one vector (P,), in the order and on the device of ``module.parameters()``.

    With ``statistics`` batch norm's running means and variances follow: the points of ``batch_norm = "interpolated"``.
    """
    names: list[tuple[str, Tensor]] = list(module.named_parameters())
    if statistics:
        running = {id(buffer) for buffer in running_statistics(module)}
        names += [(name, buffer) for name, buffer in module.named_buffers() if id(buffer) in running]
    return torch.cat([as_real(state[name].to(tensor)).reshape(-1) for name, tensor in names])


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Batch norm's running means and variances, in the order of ``module.named_buffers()``."""
    kept = [(layer.running_mean, layer.running_var) for layer in batch_norms(module)]
    return [buffer for pair in kept for buffer in pair if buffer is not None]
