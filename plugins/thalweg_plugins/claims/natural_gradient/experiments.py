"""The trials of claims B5 and B6: K-FAC and its rivals on autoencoders, and on a dense network."""

from __future__ import annotations

from itertools import product
from typing import Any

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments

Table = dict[str, Any]

CHOOSING = 2
"""The number of seeds that choose the settings, beside the seeds that decide."""
INVERSES = 5
"""Iterations between two inversions of K-FAC's factors."""

AUTOENCODER: dict[str, Table] = {
    "quick": {
        "problem": "digits-autoencoder",
        "architecture": {"name": "autoencoder", "widths": [48, 24, 8]},
        "budget": {"steps": 300},
        "batch_size": 256,
        "evaluate_every": {"steps": 10},
    },
    "cpu": {
        "problem": {"name": "fashion-mnist-autoencoder", "examples": 10_000},
        "architecture": {"name": "autoencoder", "widths": [128, 32, 16]},
        "budget": {"steps": 300},
        "batch_size": 500,
        "evaluate_every": {"steps": 30},
    },
    "full": {
        "problem": "mnist-autoencoder",
        "architecture": {"name": "autoencoder", "widths": [1000, 500, 250, 30]},
        "budget": {"steps": 5_000},
        "batch_size": 2_000,
        "evaluate_every": {"steps": 100},
    },
}
"""The autoencoder of each tier; in full the one of Martens & Grosse 2015, section 13."""
L2 = 1e-5
"""The coupled weight decay of section 13."""

NAMES: dict[str, tuple[str, str]] = {
    "quick": ("digits-autoencoder", "digits-mlp"),
    "cpu": ("fashion-autoencoder", "fashion-mlp"),
    "full": ("mnist-autoencoder", "mnist-mlp"),
}
"""The two workloads of B6 in each tier."""

GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "kfac": {"damping": (15.0, 50.0, 150.0, 500.0), "min_damping": (0.0, 1e-4, 1e-2)},
    "nesterov": {"lr": (0.015, 0.03, 0.05, 0.08), "momentum": (0.8, 0.9, 0.95)},
    "adam": {"lr": (0.005, 0.01, 0.015, 0.025), "beta2": (0.8, 0.9, 0.99)},
    "muon": {"lr": (0.003, 0.01, 0.03, 0.1), "adamw_lr": (0.003, 0.01, 0.03)},
}
"""Twelve settings of each optimizer. K-FAC's includes the paper's: damping from 150 without a lower bound."""


def settings(optimizer: str) -> dict[str, Table]:
    """The settings of an optimizer by label."""
    names = list(GRIDS[optimizer])
    fixed = {"inverse_interval": INVERSES} if optimizer == "kfac" else {}
    return {
        f"{optimizer}-" + "-".join(f"{value:g}".replace(".", "_") for value in values): {
            "optimizer": optimizer,
            **dict(zip(names, values, strict=True)),
            **fixed,
        }
        for values in product(*GRIDS[optimizer].values())
    }


def autoencoders(tier: str) -> Experiment:
    """B5: all settings of four optimizers; the last two seeds choose."""
    return Experiment(
        f"claims-kfac-{tier}",
        {
            "seeds": experiments.seeds(tier) + CHOOSING,
            "workloads": {"autoencoder": {**AUTOENCODER[tier], "coupled_weight_decay": L2}},
            "optimizers": {label: table for name in GRIDS for label, table in settings(name).items()},
        },
    )


def held_out(tier: str) -> Experiment:
    """B6: K-FAC and Nesterov momentum on two workloads with a validation split, each tuned with eight values."""
    autoencoder, mlp = NAMES[tier]
    common = {"coupled_weight_decay": L2, "validation_fraction": 0.2}
    dense = {key: experiments.MLP[tier][key] for key in ("problem", "architecture")}
    length = {key: AUTOENCODER[tier][key] for key in ("budget", "batch_size", "evaluate_every")}
    return Experiment(
        f"claims-kfac-held-out-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {autoencoder: {**AUTOENCODER[tier], **common}, mlp: {**dense, **length, **common}},
            "optimizers": {"kfac": {"inverse_interval": INVERSES}, "nesterov": {}},
            "tuning": {**experiments.RATES, "hyperparameters": {"kfac": ["damping"]}},
        },
    )
