"""Claim H1: deeper plain networks train worse, deeper residual networks do not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments
from thalweg_plugins.claims.trained import TieredClaim, add_curve, series, trials_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, MeasuredTrial
    from thalweg_plugins.claims.trained import Trials

DEPTHS: dict[str, dict[str, int]] = {
    "quick": {"8": 8, "20": 20, "40": 40},
    "cpu": {"8": 8, "20": 20, "40": 40},
    "full": {"8": 8, "20": 20, "56": 56},
}
"""The depths of each tier, as named in its settings: layers with weights, the output layer included."""
RATES = (0.003, 0.01, 0.03, 0.1)
CHOOSING = 2
"""The number of seeds that choose the rate, beside the seeds that decide."""
NORMS = {"batch": "", "none": ", without batch norm"}
"""What the name of the quantity adds for a network with and without batch norm."""
KINDS = {"plain": "none", "residual": "plain"}
"""The series, and the option ``residual`` of the dense network."""
LONGEST = {"quick": 100, "cpu": 100, "full": 100}
"""The most epochs of a training."""
PATIENCE, IMPROVEMENT = 20, 0.005
"""The training ends where the error improves by less than this over so many epochs."""


def _workload(tier: str, kind: str, depth: int, norm: str) -> dict[str, Any]:
    if tier == "full":
        resnet = {"name": "resnet", "depth": depth, "shortcuts": kind == "residual", "norm": norm}
        return {
            "problem": "cifar10",
            "architecture": resnet,
            "budget": {"epochs": LONGEST[tier]},
            "batch_size": 128,
            "validation_fraction": 0.1,
        }
    problem = "digits" if tier == "quick" else {"name": "fashion-mnist", "examples": 2_000}
    return {
        "problem": problem,
        "architecture": {"name": "deep-mlp", "depth": depth - 1, "width": 32, "residual": KINDS[kind], "norm": norm},
        "budget": {"epochs": LONGEST[tier]},
        "batch_size": 64,
        "validation_fraction": 0.2,
    }


def _rate(lr: float) -> str:
    return f"lr-{lr:g}".replace(".", "-")


def depths(tier: str) -> Experiment:
    """Plain and residual networks of all depths at all rates; the last two seeds choose the rate."""
    return Experiment(
        f"claims-depths-{tier}",
        {
            "seeds": experiments.seeds(tier) + CHOOSING,
            "workloads": {
                f"{kind}-{name}-{norm}": _workload(tier, kind, depth, norm)
                for kind in KINDS
                for name, depth in DEPTHS[tier].items()
                for norm in NORMS
            },
            "optimizers": {_rate(lr): {"optimizer": "momentum", "lr": lr} for lr in RATES},
        },
    )


def stopped(errors: pandas.Series) -> float:
    """The error at the end of the training: the first epoch over whose last 20 it improved by less than 0.005.

    The improvement is the difference of the least error before the 20 epochs and the least error up to now. The error
    of the training is the least one up to its end.

    Args:
        errors: the training error after each epoch, from epoch 0.

    >>> import pandas as pd
    >>> falling = [1.0 - 0.01 * epoch for epoch in range(30)]
    >>> round(stopped(pd.Series(falling + [0.7] * 60 + [0.0])), 3)
    0.7
    """
    best = errors.cummin().to_numpy(float)
    for epoch in range(PATIENCE, len(best)):
        if best[epoch - PATIENCE] - best[epoch] < IMPROVEMENT:
            return float(best[epoch])
    return float(best[-1])


def error_of(trial: MeasuredTrial) -> float:
    """The training error at the end by the stop rule; nan for a lost trial."""
    if trial.lost:
        return math.nan
    return stopped(1 - series(trial, "train", "accuracy"))


class Degradation(TieredClaim):
    """H1."""

    name = "H1"
    summary = "deep plain networks have a higher training error than shallow ones, and residual networks do not"
    statement = (
        "Plain networks of 20 and 40 layers end with a higher training error than a network of 8 layers, although "
        "they could represent it. Residual networks do not."
    )
    source = "He, Zhang, Ren & Sun 2016, sections 1 and 4.1"
    method = (
        "A depth counts the layers with weights, the output layer included. Hidden layers have 32 units, batch norm "
        "and He's initialization. Shortcuts skip two layers; in the dense networks the sum follows the second ReLU, "
        "which He et al. put after the sum. Of the rates 0.003, 0.01, 0.03 and 0.1, two seeds of their own choose the "
        "one with the least mean error for each network. A training ends where the least training error improved by "
        "less than 0.005 over 20 epochs, after at most 100 epochs, and the least error counts. full: plain and "
        "residual networks of 8, 20 and 56 layers on CIFAR-10."
    )
    caveat = (
        "Dense networks on 1,077 digits are not convolutional networks on ImageNet. He et al. argue that with batch "
        "norm the cause is not vanishing gradients; Balduzzi et al. 2017 (shattered gradients) and Li et al. 2018 "
        "(chaotic landscapes) offer others. With special initializations plain networks of thousands of layers train "
        "(Xiao et al. 2018)."
    )
    tiers = ("quick", "cpu", "full")
    renamed: ClassVar = {
        "full": {"40": "56", **{f"{kind}, depth 40": f"{kind}, depth 56" for kind in KINDS}},
    }

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """All networks at all rates."""
        return (depths(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The training errors at the chosen rates."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, depths(context.tier).name, seed)
        chosen = context.once("rates", lambda: choose(context))
        for (kind, depth, norm), label in chosen.items():
            trial: MeasuredTrial = trials[f"{kind}-{depth}-{norm}", label]
            quantity, series_ = f"training error{NORMS[norm]}", f"{kind}, depth {depth}"
            error = error_of(trial)
            note = trial.lost or f"at {label.removeprefix('lr-').replace('-', '.', 1)}"
            rows.add(quantity, error, note=note, series=series_)
            if not trial.lost:
                add_curve(rows, f"{quantity} by epoch", _by_epoch(trial), series=series_)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The training error by epoch, with batch norm."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "training error by epoch", curve=True)
        return curves(rows, "Training error by depth", "epoch", "training error (share of 1)", bands=False)


def choose(context: ClaimContext) -> dict[tuple[str, str, str], str]:
    """For each network the rate with the least mean error over the seeds that choose; a lost trial has error 1."""
    first = experiments.seeds(context.tier)
    seeds: list[Trials] = [
        trials_of(context, depths(context.tier).name, seed) for seed in range(first, first + CHOOSING)
    ]

    def error(workload: str, label: str) -> float:
        found = [error_of(trials[workload, label]) for trials in seeds]
        return sum(1.0 if math.isnan(each) else each for each in found) / len(found)

    return {
        (kind, depth, norm): min(map(_rate, RATES), key=lambda label: error(f"{kind}-{depth}-{norm}", label))
        for kind in KINDS
        for depth in DEPTHS[context.tier]
        for norm in NORMS
    }


def _by_epoch(trial: MeasuredTrial) -> pandas.Series:
    errors = 1 - series(trial, "train", "accuracy")
    return errors.reset_index(drop=True)
