"""Describes where a trial ran. The description is recorded with the trial and is not part of its hash."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from thalweg import __version__
from thalweg.allocator import allocator
from thalweg.registry import Registry

_PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "scipy")


@functools.cache
def machine() -> dict[str, Any]:
    """Python, packages, operating system, processor, and the git commit of the checkout that thalweg runs from."""
    return {
        "thalweg": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "git_commit": _git_commit(),
    }


def environment(registry: Registry, device: str, threads: int) -> dict[str, Any]:
    """The machine, with the trial's device, its threads and the versions of plugins."""
    return {
        **machine(),
        "device": _device_name(device),
        "threads": threads,
        "allocator": allocator(),
        "plugins": {record.name: record.version for record in registry.plugins if record.error is None},
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device_name(device: str) -> str:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    if device == "mps":
        return f"MPS of {_cpu()}"
    return device


def _git_commit() -> str | None:
    """The commit, with ``+changes`` where tracked files differ from it; None outside a checkout of thalweg."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "suite", "plugins")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
