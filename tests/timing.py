"""How benchmarks compare two ways of doing one thing."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> float:
    """Our time over theirs, the median over alternating pairs: so a noisy neighbour hits both sides."""
    ratios = []
    for _ in range(pairs):
        times = []
        for run in (ours, theirs):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    return round(median(ratios), 4)
