"""Times of probes in training, in steps of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probing import ref
from thalweg.contracts.budget import Budget
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.trial import ProbeRequest, Trial

PAIRS = 3


@pytest.mark.benchmark(group="a measurement of a probe in training, in training steps")
@pytest.mark.parametrize("name", ["gradient-flow", "smoothness", "covariate-shift", "noise-scale"])
def test_a_probe_in_training(benchmark: Any, registry: Registry, name: str) -> None:
    """The ratio of a measurement to a step of its training."""
    trial = Trial(
        problem=ref("digits"),
        architecture=ref("mlp", widths=[128, 128]),
        optimizer=ref("adam"),
        budget=Budget(epochs=3),
        batch_size=128,
        seed=0,
    )
    probe = registry.probe(name)
    given = {"jacobian": "never"} if name == "gradient-flow" else {"every": 1} if "every" in [
        option.name for option in probe.options
    ] else {}  # fmt: skip
    request = ProbeRequest(label=name, probe=ref(name, **given))
    active = ActiveProbe(request, probe, resolve(probe.options, given, name))
    ratios = []
    for _ in range(PAIRS):
        training = Training(assemble(trial, registry), [active], lambda *_: None)
        trained = training.run()
        moments = trained.tables[request.key]["step"].nunique()
        (cost,) = trained.probe_costs.values()
        ratios.append((cost["seconds"] / moments) / (trained.summary["seconds"] / trained.summary["step"]))
    benchmark.extra_info["ratio"] = round(float(np.median(ratios)), 3)
    benchmark.pedantic(lambda: Training(assemble(trial, registry), [active], lambda *_: None).run(), rounds=1)
