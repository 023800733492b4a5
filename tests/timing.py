"""Compares the times of two functions, for benchmarks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

KEPT = any(word.startswith(("--benchmark-json", "--benchmark-autosave", "--benchmark-save")) for word in sys.argv)
"""Whether the measurements are kept. Otherwise one pair of runs shows that the benchmark works."""


def ratios(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> list[float]:
    """Our processor time over theirs, once for each alternating pair.

    Other load of the machine changes processor time less than the time on the wall.
    """
    found = []
    for _ in range(pairs if KEPT else 1):
        times = []
        for run in (ours, theirs):
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
        found.append(times[0] / times[1])
    return found


def ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> float:
    """The median of ``ratios``."""
    return round(median(ratios(ours, theirs, pairs)), 4)


def record(benchmark: Any, row: str, values: Sequence[float], floor: float | None = None, unit: str = "") -> None:
    """Keep a measurement for the table in docs/performance.md.

    Args:
        benchmark: the fixture of pytest-benchmark. A test records each row once, and may record several rows.
        row: the row's name in tests/benchmarks/asked.toml.
        values: one value for each alternating pair, such as the ratio of our time to the alternative's.
        floor: the ratio of the unavoidable part alone, such as the matrix products, to the alternative.
        unit: "MB" for memory; empty for ratios.
    """
    kept = {"median": round(median(values), 4), "low": round(min(values), 4), "high": round(max(values), 4)}
    kept |= (
        {"pairs": len(values)}
        | ({} if floor is None else {"floor": round(floor, 4)})
        | ({"unit": unit} if unit else {})
    )
    benchmark.extra_info.setdefault("rows", {})[row] = kept
    benchmark.extra_info.setdefault("ratio", kept["median"])
