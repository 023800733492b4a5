"""Surfaces against loss-landscapes, where it is installed: ``pip install --no-deps loss-landscapes==3.0.6``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

PAIRS = 3


def seconds(*words: object) -> float:
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
    """Equal terms: both under the allocator that thalweg sets. Out of the box: only thalweg, which sets it itself."""
    pytest.importorskip("loss_landscapes")
    size = (network, examples, resolution)
    ratios = [seconds("thalweg", *size, "tuned") / seconds("loss-landscapes", *size, theirs) for _ in range(PAIRS)]
    benchmark.extra_info["ratio"] = round(median(ratios), 3)
    benchmark.extra_info["ratios"] = [round(each, 3) for each in ratios]
    benchmark.pedantic(lambda: seconds("thalweg", *size, "tuned"), rounds=1)
