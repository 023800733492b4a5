"""Claims G2 and G4: internal covariate shift, and the smoothness of the loss along the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from thalweg_plugins.claims.batch_norm import experiments
from thalweg_plugins.claims.batch_norm.experiments import BATCH, PLAIN, RATES, SHIFT_RATES, rate
from thalweg_plugins.claims.batch_norm.training import DEPTH, SHOWN
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import add_curve, final, mean_log, series, trials_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, Experiment, MeasuredTrial, Measurements
    from thalweg_plugins.claims.trained import Trials

KINDS = (PLAIN, BATCH)
LEVELS = 8
"""The training losses at which two networks are compared."""
NETWORK = (
    DEPTH + "quick trains the digits with depth 12, He's initialization, SGD and batches of 64 (full: VGG-16 on "
    "CIFAR-10, batches of 128), and measures every tenth step on that step's batch, batch norm in training mode. "
)

Curve = Callable[["MeasuredTrial"], "pandas.Series"]


def shift(trial: MeasuredTrial, column: str = "difference") -> pandas.Series:
    """By step, the mean over layers of ln ||G - G'||_2, or of ln ||G - G'|| / ||G||.

    The first layer has no earlier layer and no shift. Values of zero or that are not finite are left out.
    """
    table = trial.table("covariate-shift")
    rows = table[table["depth"] > 1]
    return rows.groupby("step")[column].apply(mean_log)


def without(trial: MeasuredTrial) -> float:
    """The share of layers and steps whose shift is zero or not finite, and which the means leave out."""
    import numpy as np

    table = trial.table("covariate-shift")
    values = table["difference"][table["depth"] > 1].to_numpy(float)
    return float((~np.isfinite(values) | (values <= 0)).mean())


def smoothness(trial: MeasuredTrial) -> pandas.DataFrame:
    """By step: ranges of loss and gradient along the gradient, both relative, and beta."""
    import pandas as pd

    table = trial.table("smoothness").set_index("step")
    loss, gradient = table["loss_high"] - table["loss_low"], table["gradient_high"] - table["gradient_low"]
    return pd.DataFrame(
        {
            "loss": loss,
            "gradient": gradient,
            "beta": table["beta"],
            "relative loss": loss / table["loss"],
            "relative gradient": gradient / table["gradient_norm"],
        }
    )


def mean_log_of(values: pandas.Series) -> float:
    """The mean logarithm over all measured steps; nan where a step has no positive finite value."""
    import numpy as np

    found = values.to_numpy(float)
    return float(np.log(found).mean()) if len(found) and bool((np.isfinite(found) & (found > 0)).all()) else math.nan


def _mean_shift(trial: MeasuredTrial, column: str) -> float:
    return float(shift(trial, column).mean())


def _mean_log(trial: MeasuredTrial, column: str) -> float:
    return mean_log_of(smoothness(trial)[column])


def at_levels(trials: Sequence[MeasuredTrial], curve: Curve) -> list[float]:
    """The mean of a measured quantity over training losses that both trials pass through.

    The losses are evenly spaced in the logarithm between the largest of both minima and the smallest of both first
    losses. A trial is read at the first measured step at which its training loss is at the level or below. Measured
    steps without an evaluation take the loss of the last evaluation before. nan where the trials share no loss.
    """
    import numpy as np

    losses, curves = [], []
    for trial in trials:
        values = curve(trial).dropna()
        found = series(trial, "train", "loss")
        losses.append(found.reindex(found.index.union(values.index)).ffill().reindex(values.index).to_numpy(float))
        curves.append(values.to_numpy(float))
    if not all(map(len, losses)):
        return [math.nan] * len(losses)
    low, high = max(loss.min() for loss in losses), min(loss[0] for loss in losses)
    if not 0 < low < high:
        return [math.nan] * len(losses)
    levels = np.geomspace(high, low, LEVELS)
    return [
        float(np.mean([values[np.flatnonzero(loss <= level * (1 + 1e-12))[0]] for level in levels]))
        for loss, values in zip(losses, curves, strict=True)
    ]


def best(context: ClaimContext, rates: Sequence[float], kind: str) -> float:
    """The rate with the least final training loss, the mean of its logarithm over seeds; lost trials lose."""
    trials = context.trials(experiments.steps(context.tier).name)

    def loss(lr: float) -> float:
        found = [trial for trial in trials if trial.workload == kind and trial.optimizer == rate(lr)]
        logs = [math.inf if trial.lost else math.log(max(final(trial, "train", "loss"), 1e-30)) for trial in found]
        return sum(logs) / len(logs) if logs else math.inf

    return min(rates, key=loss)


def add_matched(
    rows: Measurements, context: ClaimContext, trials: Trials, rates: Sequence[float], quantities: dict[str, Curve]
) -> None:
    """Add quantities at matched training loss, each network at its own best rate."""
    chosen = {kind: context.once(f"best {kind}", partial(best, context, rates, kind)) for kind in KINDS}
    pair = [trials[kind, rate(chosen[kind])] for kind in KINDS]
    lost = "; ".join(dict.fromkeys(trial.lost for trial in pair if trial.lost))
    for quantity, curve in quantities.items():
        values = [math.nan] * 2 if lost else at_levels(pair, curve)
        for kind, value in zip(KINDS, values, strict=True):
            note = lost or ("" if math.isfinite(value) else "the networks share no training loss")
            rows.add(quantity, value, setting="each at its best rate", series=SHOWN[kind], note=note)
    for kind in KINDS:
        rows.add("best rate", chosen[kind], series=SHOWN[kind])


def value_or_none(trial: MeasuredTrial, value: Callable[[MeasuredTrial], float]) -> tuple[float | None, str]:
    """A value with an empty note, or None and why it is missing."""
    if trial.lost:
        return None, trial.lost
    found = value(trial)
    return (found, "") if math.isfinite(found) else (None, "a measured step is not finite, or zero")


class CovariateShift(LectureClaim):
    """G2."""

    name = "G2"
    summary = "batch norm does not lower internal covariate shift"
    statement = (
        "Batch norm does not reduce internal covariate shift: the gradient of a layer changes at least as much when "
        "the layers before it take their step."
    )
    source = "Santurkar, Tsipras, Ilyas & Madry 2018, definition 2.1 and section 2.2; against Ioffe & Szegedy 2015"
    method = (
        NETWORK + "G is the gradient in the weights W_i of a layer, and G' the gradient on the same batch after all "
        "parameters before W_i have taken the optimizer's step. The mean is over layers 2 to 12 and over measured "
        "steps, of ln ||G - G'||; layers without a shift at a step are left out there. At matched loss: each network "
        "at the rate with the least final training loss in these seeds, at eight training losses that both pass "
        "through."
    )
    caveat = (
        "The size of gradients confounds the absolute shift: batch norm changes their scale. So the shift relative to "
        "||G|| and the shift at matched training loss are reported too. A plain network that does not train has small "
        "gradients and little shift. A rate at which a network diverges in a seed decides nothing."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The measured trials of both networks."""
        return (experiments.steps(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Mean log shifts."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.steps(context.tier).name, seed)
        for lr in SHIFT_RATES:
            for kind in KINDS:
                trial = trials[kind, rate(lr)]
                where: dict[str, Any] = {"setting": f"lr = {lr:g}", "series": SHOWN[kind]}
                for quantity, column in (("mean log shift", "difference"), ("mean log relative shift", "relative")):
                    value, note = value_or_none(trial, partial(_mean_shift, column=column))
                    rows.add(quantity, value, note=note, **where)
                if not trial.lost:
                    rows.add("share of layers and steps without a shift", without(trial), **where)
                    add_curve(rows, "mean log shift by step", shift(trial), **where)
                    add_curve(rows, "mean log relative shift by step", shift(trial, "relative"), **where)
                rows.add("final training loss", None if trial.lost else final(trial, "train", "loss"), **where)
        add_matched(rows, context, trials, SHIFT_RATES, {"mean log shift at matched training loss": shift})
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The shift by step at the middle rate."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "mean log shift by step", curve=True)
        rows = rows[rows["setting"] == "lr = 0.1"]
        return curves(rows, "Internal covariate shift, lr = 0.1", "steps", "mean over layers of ln ||G - G'||")


class Smoothness(LectureClaim):
    """G4."""

    name = "G4"
    summary = "batch norm makes loss and gradient change less along the gradient"
    statement = (
        "Batch norm makes the loss smoother: along the gradient, the loss and the gradient vary less, so that larger "
        "steps can be trusted."
    )
    source = "Santurkar, Tsipras, Ilyas & Madry 2018, section 3 and figure 4"
    method = (
        NETWORK
        + "Eight points lie along the negative gradient at 1/2 to 4 times the rate. Range: largest less smallest "
        "value over these points, of the loss and of ||g - g'||. beta is the largest ||g - g'|| / (alpha ||g||). The "
        "judged rate is the largest at which the plain network reaches 90% training accuracy at some evaluation in "
        "every seed."
    )
    caveat = (
        "A network that does not train looks smooth. The size of gradients confounds absolute ranges, since batch "
        "norm changes it; relative ranges at matched training loss and at each network's best rate are reported too. "
        "At equal steps the two networks stand at different losses. The seeds that decide also choose the judged rate "
        "and the best rates."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The measured trials of both networks."""
        return (experiments.steps(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Mean logarithms of ranges and of beta."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.steps(context.tier).name, seed)
        judged = context.once("judged rate", lambda: judged_rate(context))
        columns = {
            "mean log range of the loss": "loss",
            "mean log range of the gradient": "gradient",
            "mean log effective smoothness": "beta",
        }
        for kind in KINDS:
            for quantity, column in columns.items():
                where: dict[str, Any] = {"setting": "judged rate", "series": SHOWN[kind]}
                if judged is None:
                    rows.add(quantity, None, note="no rate trains the plain network in every seed", **where)
                    continue
                trial = trials[kind, rate(judged)]
                value, note = value_or_none(trial, partial(_mean_log, column=column))
                rows.add(quantity, value, note=note, **where)
            for lr in RATES:
                trial = trials[kind, rate(lr)]
                where = {"setting": f"lr = {lr:g}", "series": SHOWN[kind]}
                value, note = value_or_none(trial, partial(_mean_log, column="beta"))
                rows.add("mean log effective smoothness", value, note=note, **where)
                accuracy = 0.0 if trial.lost else float(series(trial, "train", "accuracy").max())
                rows.add("best training accuracy", accuracy, **where)
            if judged is not None and not trials[kind, rate(judged)].lost:
                found = smoothness(trials[kind, rate(judged)])
                add_curve(rows, "effective smoothness", found["beta"], series=SHOWN[kind])
        rows.add("judged rate", judged)
        add_matched(
            rows,
            context,
            trials,
            RATES,
            {
                "mean log relative range of the loss at matched training loss": _log_of("relative loss"),
                "mean log relative range of the gradient at matched training loss": _log_of("relative gradient"),
            },
        )
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The effective smoothness by step at the judged rate."""
        from thalweg_plugins.claims.pictures import curves, of

        return curves(
            of(table, "effective smoothness", curve=True), "Effective smoothness at the judged rate", "steps",
            "beta (loss per squared unit of weight)", log_y=True,
        )  # fmt: skip


def _log_of(column: str) -> Curve:
    def curve(trial: MeasuredTrial) -> pandas.Series:
        import numpy as np

        values = smoothness(trial)[column]
        found: pandas.Series = np.log(values[values > 0])
        return found

    return curve


def judged_rate(context: ClaimContext) -> float | None:
    """The largest rate at which the plain network reaches 90% training accuracy in every seed."""
    trials = [t for t in context.trials(experiments.steps(context.tier).name) if t.workload == PLAIN]
    for lr in sorted(RATES, reverse=True):
        mine = [trial for trial in trials if trial.optimizer == rate(lr)]
        if mine and all(not t.lost and float(series(t, "train", "accuracy").max()) >= 0.9 for t in mine):
            return lr
    return None
