"""Surfaces against loss-landscapes, where it is installed: ``pip install --no-deps loss-landscapes==3.0.6``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from timing import KEPT, record

PAIRS = 7


def run(*words: object) -> float:
    script = Path(__file__).parent / "surface_of.py"
    done = subprocess.run(
        [sys.executable, str(script), *map(str, words)], capture_output=True, text=True, check=True, timeout=600
    )
    return float(done.stdout)


@pytest.mark.benchmark(group="a surface against loss-landscapes' random_plane")
@pytest.mark.parametrize("theirs", ["tuned", "system"], ids=["equal-terms", "out-of-the-box"])
@pytest.mark.parametrize(
    ("network", "examples", "resolution"),
    [("mlp", 1797, 25), ("mlp", 128, 25), ("convnet", 1797, 9), ("convnet", 128, 25)],
)
def test_a_surface(benchmark: Any, network: str, examples: int, resolution: int, theirs: str) -> None:
    """Equal terms: both under the allocator that thalweg sets. Out of the box: only thalweg, which sets it itself.

    ``test_surface_peers.py`` checks that both compute equal losses on equal directions.
    """
    pytest.importorskip("loss_landscapes")
    size = (network, examples, resolution)
    pairs = PAIRS if KEPT else 1
    values = [run("thalweg", *size, "tuned") / run("loss-landscapes", *size, theirs) for _ in range(pairs)]
    terms = "equal" if theirs == "tuned" else "as-it-comes"
    record(benchmark, f"surface-{network}-{examples}-loss-landscapes-{terms}", values)
    benchmark.pedantic(lambda: run("thalweg", *size, "tuned"), rounds=1)


@pytest.mark.benchmark(group="memory of a surface above the network's own")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are read from Linux's /proc")
@pytest.mark.parametrize("side", ["thalweg", "loss-landscapes"])
@pytest.mark.parametrize("first", ["first", "second"])
def test_memory(benchmark: Any, side: str, first: str) -> None:
    """The peak of a process during a surface of 25 x 25, above what it held after a forward pass.

    The first surface of a process also loads code: oneDNN's takes about 6 MB. The second surface does not.
    """
    if side == "loss-landscapes":
        pytest.importorskip("loss_landscapes")
    words = (side, "mlp", 128, 25, "tuned", "memory" if first == "first" else "memory-after-one")
    values = [run(*words) for _ in range(PAIRS if KEPT else 1)]
    record(benchmark, f"surface-mlp-128-memory-{side}-{first}", values, unit="MB")
    benchmark.pedantic(lambda: run(*words), rounds=1)
