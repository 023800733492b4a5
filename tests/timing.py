"""How benchmarks compare two ways of doing one thing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

KEPT = any(word.startswith(("--benchmark-json", "--benchmark-autosave", "--benchmark-save")) for word in sys.argv)
"""Whether what is measured is kept; otherwise one pair shows that it runs."""


def ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> float:
    """Our time over theirs, the median over alternating pairs: so a noisy neighbour hits both sides."""
    ratios = []
    for _ in range(pairs if KEPT else 1):
        times = []
        for run in (ours, theirs):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    return round(median(ratios), 4)
