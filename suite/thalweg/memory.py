"""Memory: how much the machine has, how much a process uses, and the figures of a device that ran out of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil

GB = 10**9

_PER_WORKER = 2**30
"""Bytes of free memory for each worker, where thalweg chooses the number of workers."""
_CGROUPS = Path("/sys/fs/cgroup")
_MEMBER = Path("/proc/self/cgroup")
_SHARE = 0.9
"""The share of the available memory that all workers together may use."""


def available_memory() -> int:
    """Bytes that programs may still take, on the machine or in the container of this process."""
    return int(min([psutil.virtual_memory().available, *_left_in_cgroups(_CGROUPS, _MEMBER)]))


def automatic_workers() -> int:
    """How many workers fit: one a core of this process, and no more than the free memory is enough for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, available_memory() // _PER_WORKER))


def limit_per_worker(workers: int) -> int:
    """Bytes that each worker may use, so that a worker that leaks memory does not bring the machine down."""
    return int(_SHARE * available_memory() / workers)


def memory_of(process: int) -> int:
    """Bytes of memory that a process holds (resident); 0 where it has ended."""
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return 0


def told_size(size: float) -> str:
    """A size for people.

    >>> told_size(3_140_000_000), told_size(250_000_000)
    ('3.1 GB', '250 MB')
    """
    return f"{size / GB:.1f} GB" if size >= GB else f"{size / 10**6:.0f} MB"


def device_figures() -> str:
    """The memory figures of a device that ran out of memory. torch's cache of device memory is given back."""
    import torch

    if not torch.cuda.is_available():
        return f"no CUDA device; this process holds {told_size(memory_of(os.getpid()))}"
    free, total = torch.cuda.mem_get_info()
    figures = {
        "allocated": torch.cuda.memory_allocated(),
        "reserved": torch.cuda.memory_reserved(),
        "free": free,
        "total": total,
    }
    torch.cuda.empty_cache()
    return ", ".join(f"{name} {told_size(size)}" for name, size in figures.items())


def _left_in_cgroups(root: Path, member: Path) -> list[int]:
    """The bytes left to each control group around this process, in both versions of cgroups; empty without limits."""
    left = []
    for line in _text(member).splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            top, limit, used = root, "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            top, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = top / path.lstrip("/")
        # in a container the path may be the host's path, and the files of the group lie at the top
        for folder in {group, *group.parents, top}:
            if folder.is_relative_to(top) and _text(folder / limit).isdigit():
                # cached files count as used, but the system drops them when memory is short
                cached = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
                given = int(_text(folder / limit)) - int(_text(folder / used) or 0)
                left.append(max(0, given + int(cached[1] if cached else 0)))
    return left


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
