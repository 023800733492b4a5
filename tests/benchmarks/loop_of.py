"""The seconds that this process computes to train one trial alone, for ``test_nothing_slower.py``.

``python loop_of.py OPTIMIZER``. The build of thalweg is the one that PYTHONPATH names.
"""

from __future__ import annotations

import sys
import time

import torch

from thalweg.contracts.budget import Budget
from thalweg.registry import load_registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial

if __name__ == "__main__":
    torch.set_num_threads(1)
    registry = load_registry()
    trial = Trial(
        problem=ComponentRef(name="digits", provider="thalweg"),
        architecture=ComponentRef(name="mlp", provider="thalweg"),
        optimizer=ComponentRef(name=sys.argv[1], provider="thalweg"),
        budget=Budget(epochs=20),
        batch_size=32,
        validation_fraction=0.2,
        seed=0,
    )
    times = []
    for _ in range(4):
        started = time.process_time()
        assert Training(assemble(trial, registry), [], lambda *_: None).run().status == "done"
        times.append(time.process_time() - started)
    sys.stdout.write(f"{min(times[1:])}\n")
