"""Claim E4: the test errors of adaptive methods and of momentum on a convolutional network, all tuned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import add, final, trials_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext

OPTIMIZERS = ("momentum", "adagrad", "rmsprop", "adam")


def _vgg() -> Experiment:
    """CIFAR-10 on VGG-16 with batch norm and dropout, each optimizer tuned."""
    workload = {
        "problem": "cifar10",
        "architecture": {"name": "vgg", "depth": 16, "norm": "batch", "dropout": 0.5},
        "budget": {"epochs": 100},
        "batch_size": 128,
        "validation_fraction": 0.1,
        "schedule": {"name": "step", "at": [0.5, 0.75]},
    }
    return Experiment(
        "claims-vgg-full",
        {
            "seeds": experiments.seeds("full"),
            "workloads": {"cifar10-vgg16-bn": workload},
            "optimizers": {name: experiments.OPTIMIZERS[name] for name in OPTIMIZERS},
            "tuning": {**experiments.RATES, "seeds": 1},
        },
    )


class AdaptiveTestErrors(LectureClaim):
    """E4."""

    name = "E4"
    summary = "adaptive methods have a larger test error than gradient descent with momentum, all tuned"
    statement = "Networks that adaptive methods train generalize worse than networks that gradient descent trains."
    source = "Wilson, Roelofs, Stern, Srebro & Recht 2017, section 4"
    method = (
        "Each optimizer tries eight learning rates over three decades; the rate with the best validation accuracy is "
        "trained with fresh seeds. The test split is read once a trial, with the weights of the evaluation that has "
        "the best validation accuracy. quick takes the tuned trials on mnist1d-convnet, cpu those on 10,000 images of "
        "Fashion-MNIST, full trains VGG-16 with batch norm and dropout on CIFAR-10 under a step schedule."
    )
    caveat = (
        "Contested: in Choi et al. 2019 adaptive methods are never behind when all hyperparameters are tuned. Zou et "
        "al. 2021 prove a gap between Adam and gradient descent for a class of image-like data and two-layer "
        "convolutional networks, even with weight decay, and none for convex problems with weight decay. quick has a "
        "small network and 1,000 test examples: one example is 0.1% of error. All seeds share these examples, so the "
        "interval does not count their choice."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The tuned trials."""
        return (_vgg() if tier == "full" else experiments.tuned(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Test error at the selected step."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        (experiment,) = self.needs(context.tier)
        workload = "cifar10-vgg16-bn" if context.tier == "full" else experiments.NAMES[context.tier][1]
        trials = trials_of(context, experiment.name, seed)
        for optimizer in OPTIMIZERS:
            trial = trials[workload, optimizer]
            add(rows, "test error", trial, lambda trial: 1 - final(trial, "test", "accuracy"), series=optimizer)
            loss = math.nan if trial.lost else final(trial, "train", "loss")
            rows.add("final training loss", loss, series=optimizer, note=trial.lost)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The test errors of all seeds."""
        from thalweg_plugins.claims.pictures import dots, of

        return dots(
            of(table, "test error"), "Test error at tuned rates", "test error (share of 1)", by="series",
            optimizers=True,
        )  # fmt: skip
