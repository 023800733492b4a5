"""L7: how many steps a larger batch saves, and up to which size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import series

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, MeasuredTrial

BATCHES = (8, 16, 32, 64, 128, 256, 512)
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
TARGET = 0.1
"""The training loss to reach."""
DECIDE, CHOOSE = 5, 2
"""Seeds that decide, and further seeds that choose the rates."""
EXAMPLES = 1077
"""Training examples of the digits beside 20% for validation."""


def _label(rate: float) -> str:
    return f"lr-{rate:g}".replace(".", "-")


def experiment() -> Experiment:
    """Momentum at every batch size and rate."""
    workloads: dict[str, Any] = {}
    for size in BATCHES:
        steps = 40 * round(math.sqrt(EXAMPLES / size) * 8)
        workloads[f"batch-{size}"] = {
            "problem": "digits",
            "architecture": "mlp",
            "batch_size": size,
            "validation_fraction": 0.2,
            "budget": {"steps": steps},
            "evaluate_every": {"steps": max(2, steps // 160)},
        }
    optimizers = {_label(rate): {"optimizer": "momentum", "lr": rate, "momentum": 0.9} for rate in RATES}
    # as many draws as cover the split, so that the probe sees every example once and estimates nothing
    noise = {"workloads": ["batch-32"], "draws": 5, "seeds": list(range(DECIDE))}
    return Experiment(
        "claims-batch-sizes",
        {
            "seeds": DECIDE + CHOOSE,
            "workloads": workloads,
            "optimizers": optimizers,
            "probes": {"noise-scale": noise},
        },
    )


def steps_to_target(trial: MeasuredTrial) -> float:
    """The first evaluated step with a training loss of 0.1 or less; infinite where there is none."""
    if trial.lost:
        return math.inf
    losses = series(trial, "train", "loss")
    reached = losses.index[losses <= TARGET]
    return float(reached[0]) if len(reached) else math.inf


def critical_batch(steps: Mapping[int, float]) -> float:
    """B_crit of S(B) = S_min (1 + B_crit / B), by least squares of ln S; nan without seven finite values.

    >>> round(critical_batch({b: 50 * (1 + 100 / b) for b in BATCHES}), 3)
    100.0
    """
    import numpy as np
    from scipy.optimize import least_squares

    sizes = np.array(list(steps), dtype=float)
    logs = np.log(np.array(list(steps.values()), dtype=float))
    if not np.isfinite(logs).all():
        return math.nan

    def residual(at: Any) -> Any:
        return at[0] + np.logaddexp(0.0, at[1] - np.log(sizes)) - logs

    found = least_squares(residual, x0=[logs.min(), math.log(100.0)], xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return float(np.exp(found.x[1]))


def slope(steps: Mapping[int, float], sizes: tuple[int, ...]) -> float:
    """The least-squares slope of log2 steps in log2 batch size; nan where a value is not finite."""
    import numpy as np

    logs = np.log2([steps[size] for size in sizes])
    return float(np.polyfit(np.log2(sizes), logs, 1)[0]) if np.isfinite(logs).all() else math.nan


class BatchSizes(LectureClaim):
    """L7."""

    name = "L7"
    summary = "doubling the batch halves the steps up to about the noise scale, and saves little beyond it"
    statement = (
        "Up to a critical batch size twice the batch needs half the steps; beyond it steps hardly fall. The gradient "
        "noise scale predicts this size."
    )
    source = (
        "McCandlish, Kaplan, Amodei et al. 2018, An empirical model of large-batch training; Shallue et al. 2019, "
        "Measuring the effects of data parallelism"
    )
    method = (
        "A dense network on the digits (1,077 training examples), momentum 0.9, batches of 8 to 512. Each batch size "
        "tries the rates 0.003, 0.01, 0.03, 0.1 and 0.3 on two seeds of their own; the rate with the fewest steps to "
        "a training loss of 0.1 counts, by the mean of logarithms. Five fresh seeds decide. Steps are read at "
        "evaluations, about 160 in a run, and are too many by at most the distance of two of them. The noise scale "
        "tr(Sigma) / ||G||^2 is measured before training and after each epoch at batch 32 and its best rate, over the "
        "whole split; its mean over the run counts."
    )
    caveat = (
        "The noise scale grows without end as the network fits all examples, and the run goes on after the target. "
        "The rule takes the mean over the run; the measurements have the mean up to the target too. McCandlish et al. "
        "promise agreement up to a factor of order one, and define the critical size for the best rate at each size; "
        "five rates a factor of three apart are coarse. A batch of 512 is nearly half of the data."
    )

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """All batch sizes and rates."""
        return (experiment(),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Steps at the best rates, slopes, and the critical batch size against the noise scale."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        rates = context.once("rates", lambda: chosen_rates(context))
        trials = {(one.workload, one.optimizer): one for one in context.trials("claims-batch-sizes", seed)}
        steps: dict[int, float] = {}
        for size in BATCHES:
            steps[size] = steps_to_target(trials[f"batch-{size}", _label(rates[size])]) if size in rates else math.inf
            found = steps[size] if math.isfinite(steps[size]) else None
            note = "" if found else f"batch {size} did not reach the target"
            rows.add("steps to target", found, setting=f"batch {size}", note=note)
            if found:
                rows.add("steps", found, x=size, series="steps to a training loss of 0.1")
        lost = "; ".join(f"batch {size} did not reach the target" for size in BATCHES if math.isinf(steps[size]))
        small, large = slope(steps, (8, 16, 32)), slope(steps, (256, 512))
        quantity = "log2-slope of steps to target in the batch size"
        rows.add(f"{quantity}, small", small, note=lost)
        rows.add(quantity, small, series="small", note=lost)
        rows.add(quantity, large, series="large", note=lost)
        critical = critical_batch(steps)
        noise = early = math.nan
        if 32 in rates:
            noise = noise_scale(trials["batch-32", _label(rates[32])])
            early = noise_scale(trials["batch-32", _label(rates[32])], last=steps[32])
        ratio = math.log(critical / noise) if critical > 0 and noise > 0 else math.nan
        rows.add("ln of the critical batch size over the noise scale", ratio, note=lost)
        rows.add("critical batch size", critical, note=lost)
        rows.add("noise scale", noise)
        rows.add("noise scale up to the target", early)
        for size, rate in rates.items():
            rows.add("rate", rate, setting=f"batch {size}")
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Steps to the target against the batch size."""
        from thalweg_plugins.claims.pictures import curves, of

        return curves(
            of(table, "steps", curve=True),
            "Steps to a training loss of 0.1",
            "batch size (examples)",
            "steps",
            log_x=True,
            log_y=True,
        )


def chosen_rates(context: ClaimContext) -> dict[int, float]:
    """For each batch size the rate with the least mean log steps over the seeds that choose; none if none arrives."""
    seeds = range(DECIDE, DECIDE + CHOOSE)
    steps = {
        (one.workload, one.optimizer, one.seed): steps_to_target(one)
        for seed in seeds
        for one in context.trials("claims-batch-sizes", seed)
    }
    found: dict[int, float] = {}
    for size in BATCHES:
        scores = {rate: sum(math.log(steps[f"batch-{size}", _label(rate), seed]) for seed in seeds) for rate in RATES}
        rate = min(scores, key=scores.__getitem__)
        if math.isfinite(scores[rate]):
            found[size] = rate
    return found


def noise_scale(trial: MeasuredTrial, last: float = math.inf) -> float:
    """The mean noise scale over a run, or over its steps up to ``last``; nan where it was not measured."""
    if trial.lost:
        return math.nan
    table = trial.table("noise-scale")
    rows = (table["quantity"] == "noise scale") & (table["step"] <= last)
    return float(table.loc[rows, "value"].mean())
