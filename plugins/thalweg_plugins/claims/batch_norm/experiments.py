"""The experiments of the claims about batch norm.

A depth counts the layers with weights, the output layer included, as He et al. 2016 do: depth 12 has 11 hidden layers.
"""

from __future__ import annotations

from typing import Any

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments

Table = dict[str, Any]

DATA: dict[str, Table] = {
    "quick": {"problem": "digits", "validation_fraction": 0.2},
    "cpu": {"problem": {"name": "fashion-mnist", "examples": 3_000}, "validation_fraction": 0.2},
    "full": {"problem": "mnist", "validation_fraction": 0.1},
}
"""The data of each tier."""

EPOCHS = {"quick": 30, "cpu": 30, "full": 10}
"""The length of a training; 510, 1,110 and 8,430 steps of 64 examples.

A first run of the tier cpu had 10,000 images and five epochs. No network reached the 95% of G1 and G3 in that time, so
nothing was decided.
"""

PLAIN, BATCH, NOISY, RESIDUAL = "plain", "batch-norm", "noisy-batch-norm", "residual"

KINDS: dict[str, Table] = {
    PLAIN: {},
    BATCH: {"norm": "batch"},
    NOISY: {"norm": "noisy-batch"},
    RESIDUAL: {"residual": "plain"},
}
"""The networks: each adds one thing to the plain one."""


def network(tier: str, depth: int, kind: str, init: str, **workload: Any) -> Table:
    """A workload: a deep MLP with ``depth`` layers of weights, 64 units wide, trained with batches of 64."""
    architecture = {"name": "deep-mlp", "depth": depth - 1, "width": 64, "init": init, **KINDS[kind]}
    common = {"architecture": architecture, "budget": {"epochs": EPOCHS[tier]}, "batch_size": 64}
    return {**DATA[tier], **common, **workload}


def rate(lr: float) -> str:
    """The label of a rate.

    >>> rate(0.003)
    'lr-0-003'
    """
    return f"lr-{lr:g}".replace(".", "-")


def reliability(tier: str) -> Experiment:
    """G1: depths, initializations, kinds and rates, with momentum."""
    return Experiment(
        f"claims-reliability-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {
                f"{kind}-{depth}-{init}": network(tier, depth, kind, init)
                for kind in (PLAIN, BATCH, RESIDUAL)
                for depth in (12, 24)
                for init in ("he", "glorot", "torch")
            },
            "optimizers": {rate(lr): {"optimizer": "momentum", "lr": lr} for lr in (0.01, 0.1)},
        },
    )


RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""The rates of G4."""
SHIFT_RATES = (0.03, 0.1, 0.2)
"""The rates of G2."""
EVERY = 10
"""Steps between two measurements and between two evaluations."""


def _steps_networks(tier: str) -> dict[str, Table]:
    if tier == "full":  # the network of Santurkar et al. 2018
        common = {
            "problem": {"name": "cifar10", "augment": False},
            "budget": {"epochs": 30},
            "batch_size": 128,
            "validation_fraction": 0.1,
            "evaluate_every": {"steps": 200},
        }
        return {
            PLAIN: {**common, "architecture": {"name": "vgg", "depth": 16}},
            BATCH: {**common, "architecture": {"name": "vgg", "depth": 16, "norm": "batch"}},
        }
    return {kind: network(tier, 12, kind, "he", evaluate_every={"steps": EVERY}) for kind in (PLAIN, BATCH)}


def steps(tier: str) -> Experiment:
    """G2 and G4: plain and batch norm under SGD, measured every few steps."""
    every = 200 if tier == "full" else EVERY
    return Experiment(
        f"claims-steps-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": _steps_networks(tier),
            "optimizers": {rate(lr): {"optimizer": "sgd", "lr": lr} for lr in sorted({*RATES, *SHIFT_RATES})},
            "probes": {
                "smoothness": {"every": every, "optimizers": [rate(lr) for lr in RATES]},
                "covariate-shift": {"every": every, "optimizers": [rate(lr) for lr in SHIFT_RATES]},
            },
        },
    )


def noisy(tier: str) -> dict[str, Table]:
    """The networks of G3: plain, batch norm and noisy batch norm."""
    return {kind: network(tier, 12, kind, "he") for kind in (PLAIN, BATCH, NOISY)}


def gradients(tier: str) -> Experiment:
    """G5: the gradients of each layer at the start and after each of ten epochs, torch's initialization."""
    return Experiment(
        f"claims-gradients-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {
                f"{kind}-{depth}": network(tier, depth, kind, "torch", budget={"epochs": 10})
                for kind in (PLAIN, BATCH)
                for depth in (12, 24)
            },
            "optimizers": {rate(0.01): {"optimizer": "momentum", "lr": 0.01}},
            "probes": {"gradient-flow": {"jacobian": "never"}},
        },
    )


def _dense(table: Table, norm: str) -> Table:
    return {**table, "architecture": {**_named(table["architecture"]), "norm": norm}}


def _named(architecture: str | Table) -> Table:
    return {"name": architecture} if isinstance(architecture, str) else architecture


MNIST1D_MLP: Table = {
    "problem": "mnist1d",
    "architecture": {"name": "mlp", "widths": [128, 128]},
    "budget": {"epochs": 20},
    "batch_size": 64,
    "validation_fraction": 0.2,
}
DEEPER: Table = {**experiments.MLP["cpu"], "architecture": {"name": "mlp", "widths": [128, 128, 128, 128]}}
VGG: Table = {
    "problem": "cifar10",
    "architecture": {"name": "vgg", "depth": 16},
    "budget": {"epochs": 60},
    "batch_size": 128,
    "validation_fraction": 0.1,
}

MATCHED: dict[str, dict[str, Table]] = {
    "quick": {"digits-mlp": experiments.MLP["quick"], "mnist1d-mlp": MNIST1D_MLP},
    "cpu": {"fashion-mlp": experiments.MLP["cpu"], "fashion-mlp-4": DEEPER},
    "full": {"mnist-mlp": experiments.MLP["full"], "cifar10-vgg16": VGG},
}
"""The two workloads of G6 in each tier, without normalisation."""


def matched_workload(name: str, kind: str) -> str:
    """The name of a workload of G6 with or without batch norm."""
    return f"{name}-{kind}"


def generalization(tier: str) -> Experiment:
    """G6: two networks with and without batch norm, momentum tuned on each."""
    return Experiment(
        f"claims-generalization-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {
                matched_workload(name, kind): _dense(table, norm)
                for name, table in MATCHED[tier].items()
                for kind, norm in ((PLAIN, "none"), (BATCH, "batch"))
            },
            "optimizers": {"momentum": {}},
            "tuning": experiments.RATES,
        },
    )
