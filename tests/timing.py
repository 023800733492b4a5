"""Compares the times of two functions, for benchmarks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

KEPT = any(word.startswith(("--benchmark-json", "--benchmark-autosave", "--benchmark-save")) for word in sys.argv)
"""Whether the measurements are kept. Otherwise one pair of runs shows that the benchmark works."""


def ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> float:
    """The median over alternating pairs of our time over theirs. Alternation lets other load slow down both sides."""
    ratios = []
    for _ in range(pairs if KEPT else 1):
        times = []
        for run in (ours, theirs):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    return round(median(ratios), 4)
