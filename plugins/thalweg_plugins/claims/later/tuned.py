"""Claims L4 and L5: Muon against AdamW, and schedule-free AdamW against a cosine schedule, at tuned rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg_plugins.claims import experiments
from thalweg_plugins.claims.adaptive.tuned import HOW, RENAMED, SMALL, add_tuned, losses_and_errors
from thalweg_plugins.claims.trained import TieredClaim, add, add_curve, final, series, trials_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, Experiment, MeasuredTrial

SIDES = {"schedule-free": "schedule-free-adamw", "cosine": "adamw-cosine"}
"""The series of the rule, and the labels of the optimizers."""


def at_half(trial: MeasuredTrial) -> float:
    """The validation loss at the last evaluation within half of the steps."""
    losses = series(trial, "valid", "loss")
    return float(losses[losses.index <= losses.index[-1] / 2].iloc[-1])


class MuonAgainstAdamW(TieredClaim):
    """L4."""

    name = "L4"
    summary = "Muon trains to a lower loss and a lower error than AdamW, both tuned, in equal steps"
    statement = "Muon, which orthogonalises the momentum of hidden matrices, needs fewer steps than AdamW."
    source = "Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks"
    method = (
        HOW
        + "Muon's rate of the parameters that AdamW trains (the first and the last layer, and vectors) stays at 0.001."
    )
    caveat = (
        SMALL
        + "Muon's authors speak of language models and of CIFAR-10 speedruns. A step of Muon costs more than a step "
        "of AdamW; equal steps ignore this. On the digits Muon's loss comes near the rounding of float32, so the size "
        "of the ratio says little. Wen et al. 2025 find smaller gains once AdamW is tuned well."
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
        add_tuned(rows, context, seed, ("adamw", "muon"))
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The values of all seeds."""
        return losses_and_errors(table, "AdamW and Muon at tuned rates")


class ScheduleFree(TieredClaim):
    """L5."""

    name = "L5"
    summary = "schedule-free AdamW ends as low as AdamW with a cosine schedule, and is ahead at half of the run"
    statement = (
        "Averaging of iterates replaces a schedule of the learning rate: schedule-free AdamW ends where AdamW with a "
        "cosine schedule ends, and is better at every earlier time."
    )
    source = "Defazio et al. 2024, The road less scheduled"
    method = (
        HOW
        + "Both sides search the same range, whose middle is schedule-free AdamW's published default of 0.0025. The "
        "validation loss at half is read from the same trials. At the end 5% more loss counts as equal."
    )
    caveat = (
        SMALL + "The cosine schedule is made for the whole run, so its loss at half is not the loss of a run of half "
        "length. No warm-up is used on either side."
    )
    tiers = ("quick", "cpu", "full")
    renamed = RENAMED

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The tuned trials."""
        return (experiments.tuned(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Validation losses at half and at the end, and their curves."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.tuned(context.tier).name, seed)
        for workload in experiments.workloads(context.tier):
            for side, label in SIDES.items():
                trial = trials[workload, label]
                where: dict[str, Any] = {"setting": workload, "series": side}
                add(
                    rows,
                    "validation loss at the end",
                    trial,
                    lambda trial: final(trial, "valid", "loss"),
                    **where,
                )
                add(rows, "validation loss at half", trial, at_half, **where)
                if not trial.lost:
                    add_curve(rows, "validation loss", series(trial, "valid", "loss"), **where)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The curves of both on both workloads."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "validation loss", curve=True)
        share = rows["x"] / rows.groupby("setting")["x"].transform("max")
        rows = rows.assign(x=share, series=rows["setting"] + ", " + rows["series"])
        return curves(
            rows, "Validation loss over the run", "share of the steps", "validation loss (nats)", log_y=True,
            bands=False,
        )  # fmt: skip
