"""The experiments that claims about trained networks share, as functions of the tier.

The tier ``quick`` trains on the digits and on MNIST-1D, ``cpu`` on 10,000 images of Fashion-MNIST, and ``full`` on
MNIST and CIFAR-10.
"""

from __future__ import annotations

from typing import Any

from thalweg.contracts.claim import Experiment

Table = dict[str, Any]

MLP: dict[str, Table] = {
    "quick": {
        "problem": "digits",
        "architecture": "mlp",
        "budget": {"epochs": 20},
        "batch_size": 32,
        "validation_fraction": 0.2,
    },
    "cpu": {
        "problem": {"name": "fashion-mnist", "examples": 10_000},
        "architecture": {"name": "mlp", "widths": [128, 128]},
        "budget": {"epochs": 10},
        "batch_size": 64,
        "validation_fraction": 0.2,
    },
    "full": {
        "problem": "mnist",
        "architecture": {"name": "mlp", "widths": [256, 128]},
        "budget": {"epochs": 30},
        "batch_size": 128,
        "validation_fraction": 0.1,
    },
}
"""The dense network of each tier."""

CONVNET: dict[str, Table] = {
    "quick": {
        "problem": {"name": "mnist1d", "layout": "sequence"},
        "architecture": {
            "name": "convnet",
            "channels": [8, 16, 16],
            "widths": [32],
            "padding": "same",
            "norm": "batch",
        },
        "budget": {"epochs": 10},
        "batch_size": 64,
        "validation_fraction": 0.2,
    },
    "cpu": {
        "problem": {"name": "fashion-mnist", "examples": 10_000},
        "architecture": {
            "name": "convnet",
            "channels": [8, 16, 16],
            "widths": [32],
            "padding": "same",
            "norm": "batch",
        },
        "budget": {"epochs": 5},
        "batch_size": 64,
        "validation_fraction": 0.2,
    },
    "full": {
        "problem": "cifar10",
        "architecture": "convnet",
        "budget": {"epochs": 60},
        "batch_size": 128,
        "validation_fraction": 0.1,
    },
}
"""The convolutional network of each tier; in full 3C3D, without batch norm."""

NAMES: dict[str, tuple[str, str]] = {
    "quick": ("digits-mlp", "mnist1d-convnet"),
    "cpu": ("fashion-mlp", "fashion-convnet"),
    "full": ("mnist-mlp", "cifar10-3c3d"),
}
"""The names of the two workloads in each tier; the rules speak of those of quick."""

OPTIMIZERS: Table = {
    "momentum": {},
    "adagrad": {},
    "rmsprop": {},
    "adam": {},
    "adamw": {},
    "muon": {},
    "schedule-free-adamw": {"lr": 0.0025},
    "adamw-cosine": {"optimizer": "adamw", "lr": 0.0025, "schedule": "cosine"},
}
"""The optimizers that are tuned alike.

``lr`` is the middle of the searched range; the others have the middle of their declared range. Schedule-free AdamW has
its published default as the middle, and AdamW with a cosine schedule has the same range.
"""

RATES: Table = {"method": "halton", "budgets": [8], "decades": 3.0, "extend": 0.0, "seeds": 3}
"""Eight rates over three decades for everybody, three tuning seeds each, no extension: all have equally many tries."""


def seeds(tier: str) -> int:
    """The seeds that decide."""
    return 5 if tier == "quick" else 3


def workloads(tier: str) -> Table:
    """The two workloads on which optimizers are tuned."""
    mlp, convnet = NAMES[tier]
    return {mlp: MLP[tier], convnet: CONVNET[tier]}


def tuned(tier: str) -> Experiment:
    """Eight optimizers, each tuned on two workloads."""
    return Experiment(
        f"claims-tuned-{tier}",
        {"seeds": seeds(tier), "workloads": workloads(tier), "optimizers": OPTIMIZERS, "tuning": RATES},
    )


def published(tier: str) -> Experiment:
    """Adam at its published defaults."""
    adam = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    return Experiment(
        f"claims-published-{tier}", {"seeds": seeds(tier), "workloads": workloads(tier), "optimizers": {"adam": adam}}
    )
