"""Trials that train as one program, their networks, and the comparison with trials alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from probing import ref
from thalweg.contracts.budget import Budget, Interval
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.training.stacked.train import train_together
from thalweg.training.trained import Trained
from thalweg.trial import Stack, Trial

IMAGES = ref("digits", layout="image")
NETWORKS = {
    "mlp": (ref("digits"), ref("mlp", widths=[12, 8], activation="tanh")),
    "mlp-layer-norm": (ref("digits"), ref("mlp", widths=[12], norm="layer")),
    "deep-mlp": (ref("digits"), ref("deep-mlp", depth=4, width=12, norm="batch")),
    "deep-mlp-residual": (ref("digits"), ref("deep-mlp", depth=3, width=12, residual="plain", norm="batch")),
    "convnet": (IMAGES, ref("convnet", channels=[3, 4, 5], widths=[8], padding="same", norm="batch")),
    "resnet": (IMAGES, ref("resnet", depth=8, width=2)),
}

MORE_NETWORKS = {
    "mlp-gelu": (ref("digits"), ref("mlp", widths=[12, 7], activation="gelu")),
    "mlp-tanh-odd": (ref("digits"), ref("mlp", widths=[11, 9], activation="tanh", norm="batch")),
    "deep-linear": (ref("digits"), ref("deep-linear")),
    "convnet-1d": (
        ref("mnist1d", layout="sequence"),
        ref("convnet", channels=[3, 4, 5], widths=[8], padding="same", norm="batch"),
    ),
    "convnet-8": (IMAGES, ref("convnet", channels=[8, 8, 8], widths=[16], padding="same", norm="batch")),
    "resnet-8": (IMAGES, ref("resnet", depth=8, width=8)),
    "resnet-plain": (IMAGES, ref("resnet", depth=8, width=3, shortcuts=False, norm="none")),
    "wide-resnet": (IMAGES, ref("wide-resnet", depth=10, widen=1)),
    "autoencoder": (ref("digits-autoencoder"), ref("autoencoder", widths=[16, 4])),
}


def trial(**changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("digits"),
        "architecture": ref("mlp", widths=[12, 8], activation="tanh"),
        "optimizer": ref("adam"),
        "budget": Budget(steps=60),
        "evaluate_every": Interval(steps=20),
        "batch_size": 32,
        "dtype": "float64",
        "stack": Stack(size=4, slot=0, rows=True),
        "seed": 0,
    }
    return Trial(**(values | changes))


def alone(asked: Trial, registry: Registry, keep: Any = None) -> Trained:
    return Training(assemble(asked.model_copy(update={"stack": None}), registry), [], lambda *_: None, keep).run()


def compare(trials: Sequence[Trial], registry: Registry, tolerance: float, keep: Any = None) -> list[Trained]:
    """Check that all results of the trials are equal, and metrics within the tolerance."""
    together = train_together(trials, registry, keep=keep)
    assert len(together) == len(trials)
    for asked, ours in zip(trials, together, strict=True):
        theirs = alone(asked, registry, keep)
        assert (ours.status, ours.reason, ours.failure) == (theirs.status, theirs.reason, theirs.failure)
        positions = [
            [column for column in one.curve.columns if column not in ("seconds", "value")] for one in (ours, theirs)
        ]
        assert positions[0] == positions[1]
        assert ours.curve[positions[0]].equals(theirs.curve[positions[0]])
        np.testing.assert_allclose(ours.curve["value"], theirs.curve["value"], rtol=tolerance, atol=tolerance * 1e-2)
        mine, other = dict(ours.summary), dict(theirs.summary)
        assert asked.stack is not None
        assert mine.pop("batched") == asked.stack.size
        for summary in (mine, other):
            del summary["seconds"], summary["final"]
        assert mine == other
        for name in ("initial", "final"):
            kept, expected = getattr(ours.weights, name), getattr(theirs.weights, name)
            assert (kept is None) == (expected is None)
            for key in expected or {}:
                assert kept[key].dtype == expected[key].dtype
                torch.testing.assert_close(kept[key], expected[key], rtol=10 * tolerance, atol=tolerance)
        if theirs.weights.trajectory is not None:
            assert ours.weights.trajectory is not None
            assert ours.weights.trajectory_steps == theirs.weights.trajectory_steps
            torch.testing.assert_close(
                ours.weights.trajectory, theirs.weights.trajectory, rtol=tolerance, atol=tolerance
            )
    return together
