"""Claims B5 and B6: K-FAC against gradient descent with Nesterov momentum, by iterations, costs and held-out loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.natural_gradient import experiments
from thalweg_plugins.claims.natural_gradient.experiments import GRIDS
from thalweg_plugins.claims.trained import TieredClaim, add, add_curve, final, matched, series, trials_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, Experiment

BLOCKS, BLOCK = 10, 25
"""Timed blocks of each optimizer, in turns, and steps in a block: five inversions of K-FAC."""


class FewerIterations(LectureClaim):
    """B5."""

    name = "B5"
    figure = "figure-1-kfac-against-first-order"
    summary = "K-FAC has a lower training error than Nesterov momentum after equal iterations, which cost more each"
    statement = "K-FAC needs far fewer iterations than gradient descent with momentum, and each iteration costs more."
    source = (
        "Martens & Grosse 2015, Optimizing neural networks with Kronecker-factored approximate curvature, section 13"
    )
    method = (
        "A deep autoencoder with tanh units and a linear code, sigmoid cross-entropy, L2 of 1e-5; the error is the "
        "squared error of the reconstruction on the training split. quick: the digits, 64-48-24-8 and its mirror "
        "image, 300 iterations with batches of 256. K-FAC takes the paper's step and momentum from the quadratic "
        "model, and the paper's rule for damping, with inverses every 5 iterations. Each optimizer has twelve "
        "settings, of which two seeds of their own choose the least final training error. K-FAC: initial damping and "
        "its lower bound. Nesterov: rate and momentum. Adam: rate and beta2. Muon: both rates. Seconds of an "
        "iteration are medians over ten blocks of 25 steps of the chosen settings, K-FAC and Nesterov in turns, "
        "without evaluations."
    )
    caveat = (
        "The paper also averages iterates and lets batches grow; nothing of this is done. Seconds are those of one "
        "machine: their interval shows how well they repeat there. Small layers make inversions cheap. Adam and Muon, "
        "which the paper does not have, are reported."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """All settings of all optimizers."""
        return (experiments.autoencoders(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Final errors at the chosen settings, seconds of an iteration, and the curves."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.autoencoders(context.tier).name, seed)
        chosen = {
            name: context.once(f"best {name}", lambda name=name: best_setting(context, name))  # type: ignore[misc]
            for name in GRIDS
        }
        for name, label in chosen.items():
            trial = trials["autoencoder", label]
            add(rows, "training error", trial, lambda trial: final(trial, "train", "squared_error"), series=name)
            if not trial.lost:
                add_curve(rows, "training error", series(trial, "train", "squared_error"), series=name)
        labels = {name: chosen[name] for name in ("kfac", "nesterov")}
        seconds = step_seconds(context, labels, seed)
        for name, each in seconds.items():
            rows.add("seconds of an iteration", each, series=name)
        self._add_seconds(rows, {name: trials["autoencoder", label] for name, label in labels.items()}, seconds)
        return rows.table()

    def _add_seconds(self, rows: Any, pair: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """Add the seconds until the rival's final error: iterations times seconds of an iteration."""
        quantity = "seconds to the rival's final error"
        lost = "; ".join(trial.lost for trial in pair.values() if trial.lost)
        if lost:
            for name in pair:
                rows.add(quantity, None, series=name, note=lost)
            return
        errors = {name: series(trial, "train", "squared_error") for name, trial in pair.items()}
        target = float(errors["nesterov"].iloc[-1])
        for name, curve in errors.items():
            reached = curve.index[curve <= target]
            if len(reached):
                rows.add(quantity, float(reached[0]) * seconds[name], series=name)
            else:
                rows.add(quantity, None, series=name, note="the rival's final error is not reached")

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The training error by iteration."""
        from thalweg_plugins.claims.pictures import curves, of

        return curves(
            of(table, "training error", curve=True), "A deep autoencoder, each optimizer tuned", "iterations",
            "training error (squared error)", log_y=True, optimizers=True,
        )  # fmt: skip


def best_setting(context: ClaimContext, optimizer: str) -> str:
    """The label of an optimizer's setting with the least mean final training error over the seeds that choose."""
    experiment = experiments.autoencoders(context.tier)
    last = experiment.content["seeds"]
    seeds = [trials_of(context, experiment.name, seed) for seed in range(last - experiments.CHOOSING, last)]

    def error(label: str) -> float:
        found = [trials["autoencoder", label] for trials in seeds]
        values = [math.inf if trial.lost else final(trial, "train", "squared_error") for trial in found]
        return math.inf if any(map(math.isnan, values)) else sum(values) / len(values)

    return min(experiments.settings(optimizer), key=error)


def step_seconds(context: ClaimContext, labels: Mapping[str, str], seed: int) -> dict[str, float]:
    """The median seconds of a step of each optimizer at a setting, timed in turns.

    Args:
        context: gives the tier and the device.
        labels: the labels of settings, by name of the optimizer.
        seed: draws the weights and the batches.
    """
    import statistics

    experiment = experiments.autoencoders(context.tier)
    workload = experiment.content["workloads"]["autoencoder"]
    runs = {
        name: _stepping(workload, name, experiment.content["optimizers"][label], seed, context.device)
        for name, label in labels.items()
    }
    for step in runs.values():
        step(BLOCK)
    found: dict[str, list[float]] = {name: [] for name in labels}
    for _ in range(BLOCKS):
        for name, step in runs.items():
            start = time.perf_counter()
            step(BLOCK)
            found[name].append((time.perf_counter() - start) / BLOCK)
    return {name: statistics.median(values) for name, values in found.items()}


def _stepping(
    workload: Mapping[str, Any], optimizer: str, table: Mapping[str, Any], seed: int, device: str
) -> Callable[[int], None]:
    """A function that makes a number of further steps of a training."""
    import torch

    from thalweg.contracts import BuildContext
    from thalweg.contracts.objective import Objective
    from thalweg.contracts.option import resolve
    from thalweg.contracts.problem import Draw
    from thalweg_plugins.claims.networks import Network
    from thalweg_plugins.optimizers import FIRST_ORDER, SECOND_ORDER

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network.of(workload, torch.float32, device)
    kind = next(kind for kind in (*FIRST_ORDER, *SECOND_ORDER) if kind.name == optimizer)()
    options = resolve(kind.options, {key: value for key, value in table.items() if key != "optimizer"}, optimizer)
    problem, size = network.problem, workload["batch_size"]
    draw = Draw(seed, size)
    objective = Objective(network.module.train(), problem, draw, l2=workload["coupled_weight_decay"])
    stepper = kind.build(network.module, options, BuildContext(seed, problem.sizes["train"], size))
    done = 0

    def steps(count: int) -> None:
        nonlocal done
        for _ in range(count):
            objective.begin_step(problem.batch("train", done, draw), done)
            stepper.step(objective)
            done += 1
        if device == "cuda":
            torch.cuda.synchronize()

    return steps


class HeldOutLoss(TieredClaim):
    """B6."""

    name = "B6"
    summary = "at matched training loss, K-FAC has a larger held-out loss than Nesterov momentum"
    statement = "K-FAC trains fast and does not give good test loss."
    source = "the lecture; Wilson et al. 2017 for adaptive methods"
    method = (
        "K-FAC (inverses every 5 iterations, damping from one of eight tuned values, not below 0.01) and Nesterov "
        "momentum (eight tuned rates) with batches of 256 for 300 iterations, three tuning seeds each. Training loss "
        "is matched at the larger of the two final values, for each seed. Each side is read where its loss first "
        "comes down to this level, between evaluations linearly in the logarithm of the loss."
    )
    caveat = (
        "Contested: Zhang et al. 2019 (Three mechanisms of weight decay regularization) find that decoupled weight "
        "decay helps K-FAC to generalize. Amari et al. 2021 show that the order of preconditioned and plain gradient "
        "descent depends on the noise of labels and on stopping. The matched level may lie early in the faster side's "
        "training. The validation split that is read also chose the rates and dampings, by each workload's own metric "
        "at its best evaluation."
    )
    tiers = ("quick", "cpu", "full")
    renamed: ClassVar = {
        tier: dict(zip(experiments.NAMES["quick"], experiments.NAMES[tier], strict=True)) for tier in ("cpu", "full")
    }

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """Both optimizers, tuned, with a validation split."""
        return (experiments.held_out(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Held-out losses at matched training loss, and the curves of held-out against training loss."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.held_out(context.tier).name, seed)
        for workload in experiments.NAMES[context.tier]:
            pair = [trials[workload, name] for name in ("kfac", "nesterov")]
            lost = "; ".join(dict.fromkeys(trial.lost for trial in pair if trial.lost))
            losses = [math.nan] * 2 if lost else matched(pair, lambda trial: series(trial, "valid", "loss"))
            for name, trial, loss in zip(("kfac", "nesterov"), pair, losses, strict=True):
                where: dict[str, Any] = {"setting": workload, "series": name}
                rows.add("held-out loss at matched training loss", loss, note=lost, **where)
                add(rows, "final training loss", trial, lambda trial: final(trial, "train", "loss"), **where)
                add(rows, "final held-out loss", trial, lambda trial: final(trial, "valid", "loss"), **where)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The held-out losses of all seeds."""
        from thalweg_plugins.claims.pictures import dots, of

        return dots(
            of(table, "held-out loss at matched training loss"), "Held-out loss at matched training loss",
            "held-out loss (nats)", log=True, optimizers=True,
        )  # fmt: skip
