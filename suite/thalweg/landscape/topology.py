"""The minima of a loss surface, and how its valleys merge as the level of the loss rises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Minimum:
    """A minimum of the grid.

    ``persistence`` is how far the loss rises from the minimum to the saddle over which its valley merges with the
    valley of a lower minimum; infinite without one. ``gap`` is how far the loss rises to the first saddle over which
    its valley merges with any other valley; nan without one.
    """

    row: int
    column: int
    loss: float
    persistence: float
    gap: float


@dataclass(frozen=True)
class Merge:
    """The valley of minimum number ``younger`` merges at a saddle with the valley of a lower minimum, ``elder``."""

    loss: float
    elder: int
    younger: int


@dataclass(frozen=True)
class MergeTree:
    """The minima of a surface from the lowest to the highest, and the merges in the order of their losses."""

    minima: tuple[Minimum, ...]
    merges: tuple[Merge, ...]

    @property
    def mean_gap(self) -> float:
        """The mean of the minima's gaps; 0 where no valleys merge.

        This is the saddle-minimum average distance of Landscaper (arXiv 2602.07135), with the saddles of the merge
        tree. Landscaper's program takes those of the contour tree, which also branches where maxima part.
        """
        gaps = [minimum.gap for minimum in self.minima if minimum.gap == minimum.gap]
        return float(np.mean(gaps)) if gaps else 0.0

    def simplified(self, most: int) -> MergeTree:
        """The tree of the ``most`` minima of largest persistence; other valleys count to those they merge into."""
        ranked = sorted(range(len(self.minima)), key=lambda i: -self.minima[i].persistence)
        kept = sorted(ranked[:most])
        number = {old: new for new, old in enumerate(kept)}
        merges = tuple(
            Merge(merge.loss, number[merge.elder], number[merge.younger])
            for merge in self.merges
            if merge.younger in number
        )
        return MergeTree(tuple(self.minima[old] for old in kept), merges)


def merge_tree(losses: Floats) -> MergeTree:
    """The merge tree of the sublevel sets {L <= l} of losses (m, n) on a grid.

    Two points of the grid are neighbours if they are next to each other in a row or a column. The points enter in the
    order of their losses. A point without an earlier neighbour begins a valley. A point between two valleys is a
    saddle: the valley of the higher minimum ends there (the elder rule). Among equal losses the point that comes first
    in the grid counts as lower. A valley that ends at its own minimum's loss, as on a plateau, counts as no valley.
    Points without a finite loss are left out.

    Source: Edelsbrunner & Harer 2010, section VII.1; Landscaper (arXiv 2602.07135).

    >>> tree = merge_tree(np.array([[0.0, 3.0, 1.0, 2.0, 1.5]]))
    >>> [(minimum.column, minimum.persistence, minimum.gap) for minimum in tree.minima]
    [(0, inf, 3.0), (2, 2.0, 1.0), (4, 0.5, 0.5)]
    """
    m, n = losses.shape
    flat = losses.ravel()
    values = flat.tolist()
    order = np.argsort(flat, kind="stable")
    owner = [-1] * len(values)
    """For each point that has entered, a point on the way to its valley's minimum."""
    ended: dict[int, float] = {}
    gaps: dict[int, float] = {}
    merges: list[tuple[float, int, int]] = []

    def valley(point: int) -> int:
        while owner[point] != point:
            owner[point] = point = owner[owner[point]]
        return point

    begun: list[int] = []
    rank: dict[int, int] = {}
    for place in order[np.isfinite(flat[order])].tolist():
        row, column = divmod(place, n)
        around = [
            neighbour
            for neighbour, there in (
                (place - n, row > 0),
                (place - 1, column > 0),
                (place + 1, column < n - 1),
                (place + n, row < m - 1),
            )
            if there and owner[neighbour] >= 0
        ]
        meeting = sorted({valley(neighbour) for neighbour in around}, key=rank.__getitem__)
        if not meeting:
            owner[place], rank[place] = place, len(begun)
            begun.append(place)
            continue
        elder, loss = meeting[0], values[place]
        owner[place] = elder
        for younger in meeting[1:]:
            owner[younger] = elder
            ended[younger] = loss - values[younger]
            if ended[younger] > 0:
                merges.append((loss, elder, younger))
                for one in (elder, younger):
                    gaps.setdefault(one, loss - values[one])
    kept = [place for place in begun if ended.get(place, np.inf) > 0]
    number = {place: i for i, place in enumerate(kept)}
    minima = [
        Minimum(place // n, place % n, values[place], ended.get(place, np.inf), gaps.get(place, np.nan))
        for place in kept
    ]
    return MergeTree(tuple(minima), tuple(Merge(loss, number[a], number[b]) for loss, a, b in merges))
