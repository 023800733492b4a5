from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from thalweg.landscape.topology import Merge, MergeTree, merge_tree

Floats = NDArray[np.float64]
STEPS = 8
"""Points from a maximum of the cosine to a minimum."""


def cosine(waves: int) -> Floats:
    """cos t from 0 to 2 pi waves, exact at its maxima, zeros and minima."""
    values = np.cos(np.pi * np.arange(2 * STEPS * waves + 1) / STEPS)
    values[STEPS // 2 :: STEPS] = 0
    return values


def persistences(tree: MergeTree) -> list[float]:
    return sorted(minimum.persistence for minimum in tree.minima)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 2), (1, 4)])
def test_an_egg_crate_has_a_minimum_in_each_cell_and_saddles_between(rows: int, columns: int) -> None:
    """f = cos x + cos y: minima of -2 at odd multiples of pi, and saddles of 0 between neighbouring cells."""
    tree = merge_tree(cosine(rows)[:, None] + cosine(columns))
    cells = rows * columns
    assert [(minimum.row, minimum.column) for minimum in tree.minima] == [
        (STEPS * (2 * i + 1), STEPS * (2 * j + 1)) for i in range(rows) for j in range(columns)
    ]
    assert {minimum.loss for minimum in tree.minima} == {-2.0}
    assert persistences(tree) == [2.0] * (cells - 1) + [np.inf]
    assert len(tree.merges) == cells - 1
    assert {merge.loss for merge in tree.merges} <= {0.0}
    assert tree.mean_gap == (2.0 if cells > 1 else 0.0)


def test_a_tilted_egg_crate_merges_valleys_into_lower_ones() -> None:
    """f = cos x + cos y + t y: between cells next to each other in y, the lower cell is the one of smaller y."""
    waves, slope = 3, 0.01
    y = np.arange(2 * STEPS * waves + 1)
    tree = merge_tree((cosine(waves) + slope * y)[:, None] + cosine(1))
    assert [minimum.row for minimum in tree.minima] == [STEPS, 3 * STEPS, 5 * STEPS]
    # the maximum of cos y + t y lies at cos = 1 here, since a step changes cos y by more than t
    expected = [2 - slope * STEPS, 2 - slope * STEPS]
    np.testing.assert_allclose(persistences(tree)[:2], expected, rtol=1e-12)
    assert [(merge.elder, merge.younger) for merge in tree.merges] == [(0, 1), (0, 2)]
    # the first valley's own first saddle is higher above it than the saddles are above the others
    assert tree.minima[0].gap == pytest.approx(2 + slope * STEPS)


def test_a_monotone_surface_has_one_minimum() -> None:
    tree = merge_tree(np.add.outer(np.arange(5.0), 2 * np.arange(7.0)))
    assert [(minimum.row, minimum.column, minimum.loss) for minimum in tree.minima] == [(0, 0, 0.0)]
    assert tree.minima[0].persistence == np.inf
    assert np.isnan(tree.minima[0].gap)
    assert not tree.merges
    assert tree.mean_gap == 0


@pytest.mark.parametrize("shape", [(4, 6), (1, 9), (9, 1), (1, 1)])
def test_a_plateau_is_one_valley(shape: tuple[int, int]) -> None:
    tree = merge_tree(np.full(shape, 3.0))
    assert [(minimum.row, minimum.column) for minimum in tree.minima] == [(0, 0)]
    assert not tree.merges


def test_plateaus_of_equal_losses_are_one_valley_each() -> None:
    # the left plateau is shaped like a U, whose arms begin apart
    grid = np.array(
        [
            [1, 5, 1, 5, 2, 2],
            [1, 5, 1, 5, 2, 9],
            [1, 1, 1, 5, 2, 2],
        ],
        dtype=float,
    )
    tree = merge_tree(grid)
    assert [(minimum.loss, minimum.persistence) for minimum in tree.minima] == [(1.0, np.inf), (2.0, 3.0)]
    assert tree.merges == (Merge(5.0, 0, 1),)


def test_a_saddle_may_join_several_valleys() -> None:
    grid = np.array([[9.0, 1, 9], [2, 5, 3], [9, 0, 9]])
    tree = merge_tree(grid)
    assert [minimum.loss for minimum in tree.minima] == [0, 1, 2, 3]
    assert [minimum.persistence for minimum in tree.minima] == [np.inf, 4, 3, 2]
    assert tree.mean_gap == (5 + 4 + 3 + 2) / 4


def test_points_without_a_finite_loss_are_walls() -> None:
    grid = np.array([[0.0, np.nan, 1.0], [1.0, np.inf, 2.0], [2.0, -np.inf, 3.0]])
    tree = merge_tree(grid)
    assert [(minimum.loss, minimum.persistence) for minimum in tree.minima] == [(0.0, np.inf), (1.0, np.inf)]
    assert not merge_tree(np.full((3, 3), np.nan)).minima


def test_the_simplified_tree_keeps_the_most_persistent_minima() -> None:
    row = np.array([[0.0, 3, 1, 2, 1.5, 4, 0.5]])
    tree = merge_tree(row)
    assert [minimum.column for minimum in tree.minima] == [0, 6, 2, 4]
    simple = tree.simplified(2)
    assert [minimum.column for minimum in simple.minima] == [0, 6]
    assert simple.merges == (Merge(4.0, 0, 1),)
    assert tree.simplified(9) == tree


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(25, 25), (1, 40), (7, 31)])
def test_persistences_are_those_of_gudhi(seed: int, shape: tuple[int, int]) -> None:
    """gudhi 3.13.0: cubical complexes whose vertices are the points, so that neighbours share an edge of the grid."""
    gudhi = pytest.importorskip("gudhi")
    generator = np.random.default_rng(seed)
    # ties and plateaus too
    losses = np.round(generator.normal(size=shape), 1 if seed % 2 else 9)
    cells = gudhi.CubicalComplex(vertices=losses)
    cells.compute_persistence()
    expected = cells.persistence_intervals_in_dimension(0)
    tree = merge_tree(losses)
    found = [(minimum.loss, minimum.loss + minimum.persistence) for minimum in tree.minima]
    np.testing.assert_allclose(sorted(found), sorted(map(tuple, expected)), rtol=1e-12)
