"""The merge tree of a surface against landscaper 1.3.1: see ``test_surface_peers.py`` for its installation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thalweg.landscape.topology import merge_tree
from timing import ratios, record

SIDE = 25


@pytest.mark.benchmark(group="the merge tree of a surface against landscaper")
def test_a_merge_tree(benchmark: Any) -> None:
    """landscaper keeps losses in single precision, and computes its graph of neighbours anew for each surface."""
    landscaper = pytest.importorskip("landscaper")
    t = np.linspace(-1, 1, SIDE)
    x, y = np.meshgrid(t, t)
    noise = np.random.default_rng(0).normal(size=x.shape)
    losses = x**2 + 1.3 * y**2 + 0.25 * (np.cos(9 * x) + np.cos(9 * y)) + 0.05 * noise

    def theirs() -> Any:
        return landscaper.LossLandscape(losses, [t, t]).get_sublevel_tree()

    ours, tree = merge_tree(losses), theirs()
    saddle = dict(tree.edges)
    leaves = [node for node in tree.nodes if node not in saddle.values()]
    assert len(ours.minima) == len(leaves) > 20
    lows = sorted(tree.nodes[leaf] for leaf in leaves)
    np.testing.assert_allclose([minimum.loss for minimum in ours.minima], lows, rtol=1e-5)
    gaps = sorted(tree.nodes[saddle[leaf]] - tree.nodes[leaf] for leaf in leaves)
    np.testing.assert_allclose(sorted(minimum.gap for minimum in ours.minima), gaps, rtol=1e-5, atol=1e-6)
    record(benchmark, "topology-landscaper", ratios(lambda: merge_tree(losses), theirs, 7))
    benchmark.pedantic(lambda: merge_tree(losses), rounds=10)
