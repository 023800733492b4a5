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


class Points:
    """The points of one call, on the device and in the precision of a module.

    Args:
        points: a (K, P) tensor or a span.
        like: a tensor of the wanted precision on the wanted device.
        size: the wanted P.

    Raises:
        ValueError: a point has another size.
    """

    def __init__(self, points: Tensor | Span, like: Tensor, size: int) -> None:
        rows = points.vectors if isinstance(points, Span) else points
        if rows.dim() != 2 or rows.shape[1] != size:
            got = tuple(rows.shape[1:])
            raise ValueError(f"shape mismatch: a point has shape {got}, expected ({size},)")
        rows = rows.detach().to(like)
        self._listed = None if isinstance(points, Span) else rows
        self.vectors = rows if isinstance(points, Span) else None
        """The vectors (m, P) that span the points; None for points without a span."""
        self.coordinates = points.coordinates.to(like) if isinstance(points, Span) else None
        """The coordinates (K, m) of a span."""
        self.numbers = None if self.coordinates is None else list(map(tuple, self.coordinates.tolist()))
        """The coordinates of a span as numbers."""
        self._count = len(points)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Tensor:
        """One point (P,)."""
        return self.rows(number, number + 1)[0]

    def rows(self, first: int, last: int) -> Tensor:
        """The points ``first`` to ``last - 1``, shape (last - first, P)."""
        if self.coordinates is not None and self.vectors is not None:
            return self.coordinates[first:last] @ self.vectors
        assert self._listed is not None
        return self._listed[first:last]

    def tensors(self) -> list[Tensor]:
        """The tensors that determine the points."""
        return [each for each in (self.vectors, self.coordinates, self._listed) if each is not None]

    @property
    def busiest(self) -> int:
        """The coordinate that changes most often from one point to the next."""
        if self.coordinates is None or len(self) == 1:
            return 0
        return int((self.coordinates.diff(dim=0) != 0).sum(0).argmax())

    def typical(self) -> int:
        """The number of a point that no vector of the span is missing from, about a third of the way."""
        first = len(self) // 3
        if self.numbers is None:
            return first
        zeros = [numbers.count(0.0) for numbers in self.numbers]
        least = min(zeros)
        return zeros.index(least, first) if least in zeros[first:] else zeros.index(least)
