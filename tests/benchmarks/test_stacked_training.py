"""Times of trials that train as one program, against the trials one at a time, on digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probing import ref
from thalweg.contracts.budget import Budget
from thalweg.registry import Registry
from thalweg.stacking import SIZE
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.training.stacked.train import train_together
from thalweg.training.trained import Trained
from thalweg.trial import Stack, Trial
from timing import ratio

PAIRS = 3
DENSE, IMAGES = ref("digits"), ref("digits", layout="image")
RATES = [0.03 / 2**i for i in range(8)]

CASES: dict[str, tuple[dict[str, Any], int, list[float]]] = {
    "mlp-64-8-seeds": ({"problem": DENSE, "architecture": ref("mlp"), "budget": Budget(epochs=10)}, 8, [1e-3]),
    "mlp-64-8-lrs-4-seeds": ({"problem": DENSE, "architecture": ref("mlp"), "budget": Budget(epochs=5)}, 4, RATES),
    "mlp-128-8-seeds": (
        {"problem": DENSE, "architecture": ref("mlp", widths=[128, 128]), "budget": Budget(epochs=10)}, 8, [1e-3],
    ),
    "convnet-8-seeds": (
        {
            "problem": IMAGES,
            "architecture": ref("convnet", channels=[8, 8, 8], widths=[32], padding="same", norm="batch"),
            "budget": Budget(epochs=2),
        },
        8, [1e-3],
    ),
    "resnet-8-seeds": (
        {"problem": IMAGES, "architecture": ref("resnet", depth=8, width=8), "budget": Budget(epochs=1)}, 8, [1e-3],
    ),
}  # fmt: skip


@pytest.mark.benchmark(group="trials as one program against one at a time")
@pytest.mark.parametrize("case", CASES)
def test_trials_together(benchmark: Any, registry: Registry, case: str) -> None:
    """The ratio covers building, training and evaluating, in batches of 32 with Adam."""
    settings, seeds, rates = CASES[case]
    # as a run has them: four seeds of one setting in a stack, or four settings of one seed
    several = len(rates) > 1
    stacks = [
        [
            Trial(**settings, optimizer=ref("adam", lr=lr), batch_size=32, seed=seed,
                  stack=Stack(size=SIZE, slot=(place - seed) % SIZE if several else 0, rows=several))
            for place, (seed, lr) in enumerate(members)
        ]
        for members in (
            [[(seed, lr) for lr in rates[at : at + SIZE]] for seed in range(seeds) for at in range(0, len(rates), SIZE)]
            if several
            else [[(seed, rates[0]) for seed in range(at, at + SIZE)] for at in range(0, seeds, SIZE)]
        )
    ]  # fmt: skip
    trials = [trial.model_copy(update={"stack": None}) for stack in stacks for trial in stack]

    def together() -> list[Trained]:
        return [trained for stack in stacks for trained in train_together(stack, registry)]

    def alone() -> list[Trained]:
        return [Training(assemble(trial, registry), [], lambda *_: None).run() for trial in trials]

    for ours, theirs in zip(together(), alone(), strict=True):
        assert ours.status == theirs.status == "done"
        # one step apart, rounding is all that differs; at the end of some runs it has grown
        assert ours.summary["step"] == theirs.summary["step"]
        np.testing.assert_allclose(ours.curve["value"][:2], theirs.curve["value"][:2], rtol=1e-5)
    benchmark.extra_info["ratio"] = ratio(together, alone, PAIRS)
    benchmark.pedantic(together, rounds=1)
