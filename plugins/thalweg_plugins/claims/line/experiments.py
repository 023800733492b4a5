"""The trials of sections I and J, and of the top eigenspace: small dense networks under SGD and Adam."""

from __future__ import annotations

from typing import Any

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments

SGD = "sgd"
"""The label of SGD at lr = 0.1, the base of the comparison."""

LEVELS = {
    "SGD at lr = 1": "sgd-1",
    "Adam at lr = 0.001": "adam-0-001",
    "Adam at lr = 0.01": "adam-0-01",
    "Adam at lr = 0.03": "adam-0-03",
}
"""The levels of I3 that change the optimizer, with their labels."""

NETWORKS = {"batch norm": "batch-norm", "depth 5": "depth-5"}
"""The levels of I3 that change the network, with their workloads."""

BASE = "mlp"
"""The name of the plain network's workload."""

LONG = {"quick": 20, "cpu": 10, "full": 20}
"""Epochs of each tier."""


def _workload(tier: str, **architecture: Any) -> dict[str, Any]:
    base = experiments.MLP[tier]
    kind = base["architecture"]
    named = {"name": kind} if isinstance(kind, str) else kind
    return {**base, "architecture": {**named, **architecture}, "budget": {"epochs": LONG[tier]}, "batch_size": 32}


def paths(tier: str) -> Experiment:
    """The plain network under SGD with its line, and with the weights after each epoch."""
    return Experiment(
        f"claims-paths-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {BASE: _workload(tier)},
            "optimizers": {SGD: {"lr": 0.1}},
            "probes": {"line": {}},
            "keep": "trajectory",
        },
    )


def directions(tier: str) -> Experiment:
    """The plain network under SGD, with the loss along random and gradient directions."""
    return Experiment(
        f"claims-directions-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {BASE: _workload(tier)},
            "optimizers": {SGD: {"lr": 0.1}},
            "probes": {"directions": {"draws": 10}},
        },
    )


RATES_OF_ADAM = ("0-001", "0-01", "0-03")


def optimizers(tier: str) -> Experiment:
    """The plain network under other optimizers and rates."""
    return Experiment(
        f"claims-line-optimizers-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {BASE: _workload(tier)},
            "optimizers": {
                "sgd-1": {"optimizer": "sgd", "lr": 1.0},
                **{f"adam-{lr}": {"optimizer": "adam", "lr": float(lr.replace("-", "."))} for lr in RATES_OF_ADAM},
            },
            "probes": {"line": {}},
        },
    )


def networks(tier: str) -> Experiment:
    """Other networks under SGD. The line of the network with batch norm uses the statistics of all examples."""
    return Experiment(
        f"claims-line-networks-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {
                "batch-norm": _workload(tier, norm="batch"),
                "depth-5": _workload(tier, widths=[64] * 5),
            },
            "optimizers": {SGD: {"lr": 0.1}},
            "probes": {"line": {"batch_norm": "batch"}},
        },
    )
