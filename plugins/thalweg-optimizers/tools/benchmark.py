"""Writes ``thalweg_optimizers/optimizers.toml``: every optimizer that runs, on two workloads, tuned alike.

python tools/benchmark.py
"""

from __future__ import annotations

from pathlib import Path

from measure import entries, read

from thalweg_optimizers.sources import benchmark

HEAD = """# Written by tools/benchmark.py: all that train digits-mlp to the end at their defaults and have a rate.
# Classes whose trainings take ten times as long as most are left out.
title = "Optimizers"
summary = "COUNT optimizers of other packages on digits and MNIST-1D, tuned with 8 rates, then five fresh seeds"
seeds = 5

[workloads.digits-mlp]
problem = "digits"
architecture = "mlp"
budget = { epochs = 20 }
batch_size = 32
validation_fraction = 0.2

[workloads.mnist1d-mlp]
problem = "mnist1d"
architecture = { name = "mlp", widths = [128, 128] }
budget = { epochs = 10 }
batch_size = 64
validation_fraction = 0.2

[tuning]
budgets = [8]
stop_hopeless = true

[optimizers.sgd]
[optimizers.momentum]
[optimizers.adam]
[optimizers.adamw]
"""


def text() -> str:
    """The file."""
    left = {entry.name for entry in entries() if entry.slow or not entry.signature.get("has_lr")}
    ran = [name for name, row in read().items() if row.get("digits", {}).get("status") == "done"]
    names = [name for name in ran if name not in left]
    head = HEAD.replace("COUNT", str(len(names)))
    return head + "".join(f"[optimizers.{name}]\n" for name in names)


if __name__ == "__main__":
    Path(benchmark()).write_text(text(), encoding="utf-8")
