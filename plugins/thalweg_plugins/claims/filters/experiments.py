"""The trials of section K: networks whose weights are kept, to be compared at equal training loss."""

from __future__ import annotations

from itertools import product
from typing import Any

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments

Table = dict[str, Any]

LEVELS = {"quick": 0.1, "cpu": 0.35, "full": 0.1}
"""The training loss at which networks of K2, K3 and L6 are compared: at the first evaluation at which it is reached."""

FACTORS = tuple(round(0.25 * 16 ** (k / 7), 6) for k in range(8))
"""Eight factors from 0.25 to 4, evenly spaced in the logarithm."""

GAINED = "gain-{:g}"
"""The name of a workload whose initialization is scaled."""

DATA: dict[str, Table] = {
    "quick": {"problem": "digits", "validation_fraction": 0.2},
    "cpu": {"problem": {"name": "fashion-mnist", "examples": 10_000}, "validation_fraction": 0.0},
    "full": {"problem": {"name": "mnist", "examples": 10_000}, "validation_fraction": 0.0},
}
"""The data of each tier. The claims read no validation split; the digits keep their usual one apart."""


def named(gain: float) -> str:
    """The name of the workload of a gain.

    >>> named(0.371499)
    'gain-0-371499'
    """
    return GAINED.format(gain).replace(".", "-")


def _length(tier: str, gain: float) -> Table:
    """Large weights train faster, and their loss changes more between two evaluations."""
    steps, every = (300, 5) if gain > 1.5 else (1_200, 30)
    longer = 1 if tier == "quick" else 4
    return {"budget": {"steps": longer * steps}, "evaluate_every": {"steps": longer * every}}


def gains(tier: str) -> Experiment:
    """K2: the dense network from initializations of eight scales."""
    return Experiment(
        f"claims-gains-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {
                named(gain): {
                    **DATA[tier],
                    "architecture": {"name": "mlp", "gain": gain},
                    "batch_size": 32,
                    **_length(tier, gain),
                }
                for gain in (*FACTORS, 1.0)
            },
            "optimizers": {"momentum": {"lr": 0.01}},
            "keep": "trajectory",
        },
    )


WIDTHS: dict[str, tuple[int, int]] = {"quick": (16, 64), "cpu": (16, 64), "full": (64, 256)}
BATCHES = (16, 32, 64, 128)
DECAYS = (0.0, 0.003)
RATES: dict[str, dict[float, tuple[int, int]]] = {
    "quick": {0.003: (3_000, 100), 0.01: (1_000, 40), 0.03: (400, 15)},
    "cpu": {0.003: (10_000, 500), 0.01: (3_000, 150), 0.03: (1_000, 50)},
    "full": {0.003: (10_000, 500), 0.01: (3_000, 150), 0.03: (1_000, 50)},
}
"""For each rate the steps of the training, and the steps between two evaluations."""


def configuration(width: int, batch: int, decay: float) -> str:
    """The name of a workload of K3."""
    return f"width-{width}--batch-{batch}--decay-{decay:g}".replace(".", "-")


def rate(lr: float) -> str:
    """The label of a rate."""
    return f"lr-{lr:g}".replace(".", "-")


def grid(tier: str) -> dict[tuple[str, str], dict[str, float]]:
    """The hyperparameters of each configuration, by workload and label: 48 of them."""
    return {
        (configuration(width, batch, decay), rate(lr)): {
            "width": width, "batch size": batch, "weight decay": decay, "lr": lr,
        }
        for width, batch, decay, lr in product(WIDTHS[tier], BATCHES, DECAYS, RATES[tier])
    }  # fmt: skip


def configurations(tier: str) -> Experiment:
    """K3 and L6: 48 configurations of width, batch size, weight decay and rate, under momentum."""
    workloads = {
        configuration(width, batch, decay): {
            **DATA[tier],
            "architecture": {"name": "mlp", "widths": [width, width]},
            "budget": {"steps": 1000},
            "batch_size": batch,
            "coupled_weight_decay": decay,
        }
        for width, batch, decay in product(WIDTHS[tier], BATCHES, DECAYS)
    }
    lengths = {
        rate(lr): {"budget": {"steps": steps}, "evaluate_every": {"steps": every}}
        for lr, (steps, every) in RATES[tier].items()
    }
    return Experiment(
        f"claims-configurations-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": workloads,
            "optimizers": {rate(lr): {"optimizer": "momentum", "lr": lr} for lr in RATES[tier]},
            "overrides": dict.fromkeys(workloads, lengths),
            "keep": "trajectory",
        },
    )


def shortcuts(tier: str) -> Experiment:
    """K4: deep networks with batch norm, plain and with shortcuts. Depth 24 has 23 hidden layers."""
    return Experiment(
        f"claims-shortcuts-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {
                kind: {
                    **DATA[tier],
                    "architecture": {
                        "name": "deep-mlp", "depth": 23, "width": 32, "norm": "batch", "residual": residual,
                    },
                    "budget": {"epochs": 80},
                    "batch_size": 64,
                }
                for kind, residual in (("plain", "none"), ("residual", "plain"))
            },
            "optimizers": {"sgd": {"lr": 0.1}},
            "keep": "trajectory",
        },
    )  # fmt: skip
