"""One side of the comparison with loss-landscapes, as a process of its own: the seconds or memory of one surface.

``python surface_of.py thalweg|loss-landscapes mlp|convnet EXAMPLES RESOLUTION tuned|system [memory|memory-after-one]``.
The allocator is set once for a process, so each side runs in one. With ``memory`` the peak of memory in MB during the
process's first surface is printed, with ``memory-after-one`` the peak during a later one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from thalweg.allocator import set_allocator
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.landscape.evaluate import Plane, flat, losses_at


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "mlp":
        hidden = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)]
        return nn.Sequential(nn.Flatten(), *hidden).eval()
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10),
    ).eval()  # fmt: skip
    for layer in module:
        if isinstance(layer, nn.BatchNorm2d):
            # loss-landscapes divides by the norm of each row, and a new batch norm's bias is zero
            nn.init.normal_(layer.bias)
    return module


def surface(side: str, module: nn.Module, examples: int, resolution: int) -> Callable[[], object]:
    x, y = load_digits(return_X_y=True)
    inputs = torch.tensor(x / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8)[:examples]
    targets = torch.tensor(y)[:examples]
    if side == "thalweg":
        data = Supervised({"train": (inputs, targets)}, CrossEntropy(), CLASSIFICATION)
        generator = torch.Generator().manual_seed(0)
        ticks = [2 * i / (resolution - 1) - 1 for i in range(resolution)]

        def ours() -> object:
            d1, d2 = (filter_normalized(module, random_direction(module, generator)) for _ in range(2))
            plane = Plane(flat(module), d1, d2, ticks, ticks)
            return losses_at(module, data, plane, metrics=["loss"])

        return ours
    import loss_landscapes
    from loss_landscapes.metrics import Loss

    metric = Loss(nn.CrossEntropyLoss(), inputs, targets)

    def theirs() -> object:
        with torch.no_grad():  # it keeps graphs otherwise, which costs it more
            return loss_landscapes.random_plane(module, metric, 1, resolution, "filter", deepcopy_model=True)

    return theirs


def resident(field: str) -> float:
    """Megabytes that this process holds (``VmRSS``), or held at most since the peak was cleared (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    side, name, examples, resolution, allocator, *what = sys.argv[1:]
    if allocator == "tuned":
        set_allocator()
    torch.set_num_threads(1)
    module = network(name)
    run = surface(side, module, int(examples), int(resolution))
    if what == ["memory"]:
        module(torch.zeros(int(examples), 1, 8, 8))
    else:
        surface(side, module, int(examples), 3)()
    if what:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = resident("VmRSS")
        run()
        sys.stdout.write(f"{resident('VmHWM') - before}\n")
    else:
        started = time.process_time()
        run()
        sys.stdout.write(f"{time.process_time() - started}\n")
