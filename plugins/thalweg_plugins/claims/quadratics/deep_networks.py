"""Claim A5: full-batch L-BFGS against gradient descent with momentum on a deep network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import add, add_curve, trials_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, MeasuredTrial

EVALUATIONS = 300
"""Gradients of the full batch that each side gets."""


def full_batch(tier: str) -> Experiment:
    """L-BFGS and momentum on the dense network of the tier with full batches, tuned by the final training loss."""
    workload = {
        "problem": experiments.MLP[tier]["problem"],
        "architecture": experiments.MLP[tier]["architecture"],
        "budget": {"gradient_evaluations": EVALUATIONS},
        "batch_size": "full",
        "metric": "loss",
    }
    return Experiment(
        f"claims-full-batch-{tier}",
        {
            "seeds": experiments.seeds(tier),
            "workloads": {experiments.NAMES[tier][0]: workload},
            "optimizers": {"momentum": {}, "lbfgs": {"lr": 0.3}},
            "tuning": {**experiments.RATES, "seeds": 2},
        },
    )


def by_gradients(trial: MeasuredTrial) -> pandas.Series:
    """The training loss by the number of full gradients so far, up to the budget.

    A step of L-BFGS takes several gradients, and its last step may spend more than the budget: it does not count.
    """
    curve = trial.curve()
    rows = curve[(curve["split"] == "train") & (curve["metric"] == "loss")].sort_values("step")
    losses = rows.set_index("gradient_evaluations")["value"]
    found: pandas.Series = losses[losses.index <= EVALUATIONS]
    return found


class QuasiNewtonTrains(LectureClaim):
    """A5."""

    name = "A5"
    summary = "full-batch L-BFGS reaches a lower training loss than tuned momentum in equally many gradients"
    statement = "Quasi-Newton methods work for deep networks: L-BFGS needs fewer gradients than gradient descent."
    source = "Liu & Nocedal 1989; Le et al. 2011, On optimization methods for deep learning"
    method = (
        "Both train a dense network with full batches for 300 gradient evaluations. Both try eight rates with two "
        "tuning seeds, and the final training loss decides. The rate of L-BFGS is the first length that its "
        "strong-Wolfe line search tries. L-BFGS has 10 pairs and takes 5 iterations a step; all trials of the line "
        "search count."
    )
    caveat = (
        "Full batches are rarely affordable, and with small batches the pairs of L-BFGS disagree. A lower training "
        "loss says nothing about the test error. Rates alone are tuned; momentum stays at 0.9. In quick the loss of "
        "L-BFGS comes down to the rounding of float32, so the size of the ratio and its interval show this rounding."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The tuned trials with full batches."""
        return (full_batch(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The training loss after 300 gradients, and the curves."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, full_batch(context.tier).name, seed)
        for (_, optimizer), trial in trials.items():
            add(rows, "training loss", trial, lambda trial: float(by_gradients(trial).iloc[-1]), series=optimizer)
            if not trial.lost:
                add_curve(rows, "training loss", by_gradients(trial), series=optimizer)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The training loss of both against gradients."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "training loss", curve=True)
        # steps of L-BFGS take different numbers of gradients in different seeds
        rows = rows.assign(x=(rows["x"] / 10).round() * 10)
        return curves(
            rows, "Full-batch training", "gradients of the full batch", "training loss (nats)", log_y=True,
            optimizers=True,
        )  # fmt: skip
