"""Claims C4 and C5: adaptive rules and momentum at tuned rates, and Adam at its published defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg_plugins.claims import experiments
from thalweg_plugins.claims.trained import TieredClaim, add, final, smoothed_error, trials_of, validation_examples

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, Experiment, MeasuredTrial, Measurements

RENAMED = {
    tier: dict(zip(experiments.NAMES["quick"], names, strict=True))
    for tier, names in experiments.NAMES.items()
    if tier != "quick"
}
"""The names of the two workloads in the other tiers."""

HOW = (
    "Each optimizer tries eight learning rates over three decades, with three tuning seeds each. The rate whose runs "
    "have the best validation accuracy at any evaluation is trained again with fresh seeds. Training loss and "
    "validation error are those of the last step. "
)
SMALL = (
    "The networks and data are small, other hyperparameters than the rate stay at their defaults, and a best rate may "
    "lie at an end of its range. Validation accuracy chooses the rate, also where losses are compared; another rate "
    "may have the least loss in the end. The validation split that chose the rate gives the validation error too. "
)


def add_final(rows: Measurements, trial: MeasuredTrial, examples: int, *, setting: str, series: str) -> None:
    """Add the final training loss and the smoothed validation error of a trial."""
    add(rows, "final training loss", trial, lambda trial: final(trial, "train", "loss"), setting=setting, series=series)
    add(
        rows,
        "validation error",
        trial,
        lambda trial: smoothed_error(final(trial, "valid", "accuracy"), examples),
        setting=setting,
        series=series,
    )


def add_tuned(rows: Measurements, context: ClaimContext, seed: int, optimizers: tuple[str, ...]) -> None:
    """Add both quantities of tuned optimizers on both workloads."""
    trials = trials_of(context, experiments.tuned(context.tier).name, seed)
    for workload, spec in experiments.workloads(context.tier).items():
        for optimizer in optimizers:
            add_final(rows, trials[workload, optimizer], validation_examples(spec), setting=workload, series=optimizer)


def losses_and_errors(table: pandas.DataFrame, title: str) -> altair.TopLevelMixin:
    """Both quantities by optimizer, a row for each workload and quantity."""
    from thalweg_plugins.claims.pictures import dots, of

    rows = of(table, "final training loss", "validation error")
    rows = rows.assign(what=rows["setting"] + ", " + rows["quantity"].str.removeprefix("final "))
    return dots(
        rows.sort_values("what", kind="stable"), title, "loss (nats), error (share of 1)", by="what", log=True,
        optimizers=True,
    )  # fmt: skip


class RMSPropBeatsAdaGrad(TieredClaim):
    """C4."""

    name = "C4"
    summary = "RMSProp trains deep networks to a lower loss than AdaGrad, both tuned alike"
    statement = (
        "RMSProp forgets old gradients, so it works better than AdaGrad in deep networks, whose loss is not convex."
    )
    source = "Tieleman & Hinton 2012, lecture 6.5; Goodfellow, Bengio & Courville 2016, section 8.5; Duchi et al. 2011"
    method = HOW + "An error of k in n counts as (k + 1/2) / (n + 1), so that no error has a logarithm."
    caveat = (
        SMALL
        + "AdaGrad's rate falls as 1/sqrt(t) by itself while RMSProp's is constant here, so that a schedule could "
        "change the order. Both use torch's form, in which AdaGrad's sum includes the present gradient."
    )
    tiers = ("quick", "cpu", "full")
    renamed = RENAMED

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The tuned trials."""
        return (experiments.tuned(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Final losses and errors of both."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        add_tuned(rows, context, seed, ("adagrad", "rmsprop"))
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The values of all seeds."""
        return losses_and_errors(table, "AdaGrad and RMSProp at tuned rates")


class AdamAgainstMomentum(TieredClaim):
    """C5."""

    name = "C5"
    summary = "Adam trains to a lower loss than momentum, both tuned; Adam's published defaults are near its tuned form"
    statement = (
        "Adam trains deep networks faster than gradient descent with momentum, and its recommended hyperparameters "
        "work well without tuning."
    )
    source = "Kingma & Ba 2015; Choi et al. 2019, On empirical comparisons of optimizers for deep learning"
    method = (
        HOW + "Adam at its published defaults (lr = 0.001, beta1 = 0.9, beta2 = 0.999, eps = 1e-8) is trained with "
        "the same seeds. Its validation error may be 1.25 times the error of tuned Adam."
    )
    caveat = (
        SMALL
        + "Choi et al. find that the order of optimizers depends on which hyperparameters are tuned, and that Adam "
        "with all of them tuned is never behind momentum, which is nearly a special case of it: Adam with a large "
        "eps. The defaults were not chosen on the validation split, and tuned Adam was."
    )
    tiers = ("quick", "cpu", "full")
    renamed = RENAMED

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The tuned trials, and Adam's defaults."""
        return experiments.tuned(tier), experiments.published(tier)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Final losses and errors of all three."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        add_tuned(rows, context, seed, ("momentum", "adam"))
        published = trials_of(context, experiments.published(context.tier).name, seed)
        for workload, spec in experiments.workloads(context.tier).items():
            examples = validation_examples(spec)
            add_final(rows, published[workload, "adam"], examples, setting=workload, series="adam, published defaults")
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The values of all seeds."""
        return losses_and_errors(table, "Momentum and Adam at tuned rates, and Adam's defaults")
