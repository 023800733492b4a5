"""Prints the memory in MB that 99 Hutchinson products take above the network, its data and one gradient.

``python memory_of_trace.py thalweg|hessian-eigenthings``: the process's peak of resident memory, less what it held
before. The kernel resets the peak (Linux).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from curvature_peers import HessianEigenthings, loss_of_digits, mlp
from thalweg.curvature import flat, hessian, hutchinson

SAMPLES = 99


def resident(which: str) -> float:
    """VmRSS or VmHWM, the peak, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(which)]
    return int(line.split()[1]) / 1000


def main() -> None:
    torch.set_num_threads(1)
    objective = loss_of_digits(mlp)
    peer = HessianEigenthings(objective) if sys.argv[1] != "thalweg" else None
    objective.gradient()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = resident("VmRSS")
    if peer is None:
        like = flat(objective.parameters).detach()
        hutchinson(hessian(objective).products, like, SAMPLES, torch.Generator().manual_seed(0))
    else:
        peer.trace(SAMPLES)
    sys.stdout.write(f"{resident('VmHWM') - before}\n")


if __name__ == "__main__":
    main()
