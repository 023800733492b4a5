"""Claims G1, G3, G5 and G6: what batch norm does to training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg_plugins.claims.batch_norm import experiments
from thalweg_plugins.claims.batch_norm.experiments import BATCH, NOISY, PLAIN, RESIDUAL, rate
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import (
    TieredClaim,
    add,
    add_curve,
    final,
    matched,
    series,
    smoothed_error,
    trials_of,
    validation_examples,
)

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext, Experiment, MeasuredTrial

SHOWN = {PLAIN: "plain", BATCH: "batch norm", NOISY: "noisy batch norm", RESIDUAL: "residual"}
"""The series of the rules by kind of network."""
REACHED = 0.95
"""The training accuracy that counts as trained."""
NOISY_RATE, NOISY_EVERY, NOISY_EXAMPLES = 0.1, 5, 10_000
"""Of G3: the rate, the steps between two evaluations, and the most training examples of an evaluation."""
DEPTH = (
    "A depth counts the layers with weights, the output layer included, as He et al. 2016 do. Hidden layers have 64 "
    "units. "
)


class Reliability(LectureClaim):
    """G1."""

    name = "G1"
    summary = "batch norm and shortcuts train at more rates, depths and initializations than plain networks"
    statement = "Batch norm and shortcuts make the training of deep networks reliable."
    source = "Ioffe & Szegedy 2015; He et al. 2016; Santurkar et al. 2018, section 2"
    method = (
        DEPTH
        + "A cell is a depth (12, 24), a rate (0.01, 0.1) and an initialization (He, Glorot, torch's default). It "
        "counts if the training accuracy is 95% or more at an evaluation after any epoch. The residual network has "
        "shortcuts over two layers and no batch norm, so that each network adds one thing to the plain one. A block "
        "adds the output of its second ReLU to its input; He et al. 2016 put that ReLU after the sum."
    )
    caveat = (
        "The seeds share twelve cells, and the interval does not count their choice: with more small rates and good "
        "initializations plain networks win back ground. Zhang et al. 2019 (Fixup) train deep residual networks "
        "without batch norm by scaling their initialization."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """All cells."""
        return (experiments.reliability(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The share of cells that reach 95%, and the best accuracy of each cell for the picture."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.reliability(context.tier).name, seed)
        for kind in (PLAIN, BATCH, RESIDUAL):
            best = {
                (workload, label): _best_accuracy(trial)
                for (workload, label), trial in trials.items()
                if workload.rsplit("-", 2)[0] == kind
            }
            share = sum(accuracy >= REACHED for accuracy in best.values()) / len(best)
            rows.add("share of cells that reach 95% training accuracy", share, series=SHOWN[kind])
            for (workload, label), accuracy in best.items():
                _, depth, init = workload.rsplit("-", 2)
                cell = f"{depth} layers, {init}, lr {label.removeprefix('lr-').replace('-', '.')}"
                rows.add("best training accuracy", accuracy, setting=cell, series=SHOWN[kind])
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The best training accuracy of each cell."""
        from thalweg_plugins.claims.pictures import dots, of

        return dots(
            of(table, "best training accuracy"), "Which networks train", "best training accuracy (share of 1)",
            bounds=(REACHED,),
        )  # fmt: skip


def _best_accuracy(trial: MeasuredTrial) -> float:
    """The best training accuracy of a trial; a diverged one counts as 0, because it does not train."""
    if trial.lost:
        return 0.0
    return float(series(trial, "train", "accuracy").max())


class NoisyBatchNorm(LectureClaim):
    """G3."""

    name = "G3"
    summary = "batch norm with random shifts of its outputs trains about as fast as batch norm, and faster than plain"
    statement = (
        "Batch norm does not work by keeping the distributions of activations fixed: noise that moves them at each "
        "step hardly slows the training."
    )
    source = "Santurkar, Tsipras, Ilyas & Madry 2018, section 2.1 and appendix A"
    method = (
        DEPTH
        + "Depth 12, He's initialization, SGD at lr = 0.1, batches of 64. After each batch norm, each unit gets a "
        "mean from U(-0.5, 0.5) and a deviation from U(1, 1.25), new at each step. Each example then gets a shift "
        "from U(mean - 0.1, mean + 0.1) and a factor from N(deviation, 0.1^2). Accuracy is read on the training split "
        "(full: 10,000 images of it) at every fifth step, without noise and with the statistics of these examples. "
        "Running statistics would be those of noisy activations, which networks without noise do not have."
    )
    caveat = (
        "The figures of the noise are ours, after the description in appendix A. The evaluation leaves the noise out; "
        "with the noise in it, the noisy network arrives later. A first measurement read accuracy with running "
        "statistics, which the noise distorts; the noisy network then needed four times the steps of batch norm. One "
        "rate and one network: at a rate at which the plain network trains well, the second part may turn."
    )
    tiers = ("quick", "cpu", "full")

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Steps to 95%, and the curves."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        for kind, workload in experiments.noisy(context.tier).items():
            quantity = "steps to 95% training accuracy"
            curve = accuracies(workload, seed, context.device)
            reached = curve.index[curve >= REACHED]
            if len(reached):
                rows.add(quantity, float(reached[0]), series=SHOWN[kind])
            elif kind == PLAIN:
                last = float(curve.index[-1])
                rows.add(quantity, last, series=SHOWN[kind], note="not reached: all steps of the run")
            else:
                rows.add(quantity, None, series=SHOWN[kind], note="95% not reached")
            add_curve(rows, "training accuracy", curve, series=SHOWN[kind])
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The training accuracy of the three networks."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "training accuracy", curve=True)
        return curves(rows, "Noise after batch norm", "steps", "training accuracy (share of 1)")


def accuracies(workload: Mapping[str, Any], seed: int, device: str) -> pandas.Series:
    """The training accuracy at every fifth step of SGD, without noise and with the statistics of the examples.

    Weights, batches and noise are those of a trial with this seed.
    """
    import pandas as pd
    import torch

    from thalweg.contracts import Draw
    from thalweg.landscape import flat, losses_at
    from thalweg_plugins.claims.networks import Network
    from thalweg_plugins.claims.stepping import Steps
    from thalweg_plugins.optimizers.first_order.sgd import SGD

    draw = Draw(seed, workload["batch_size"])
    with torch.random.fork_rng():
        torch.manual_seed(draw.seed_for("init"))
        network = Network.of(workload, torch.float32, device)
    module, problem = network.module, network.problem
    run = Steps(SGD(), problem, module, draw, draws_in_forward=True, lr=NOISY_RATE)
    steps = workload["budget"]["epochs"] * problem.steps_per_epoch(workload["batch_size"])
    points = [flat(module)]
    for _ in range(0, steps - NOISY_EVERY + 1, NOISY_EVERY):
        run.step(NOISY_EVERY)
        points.append(flat(module))
    examples = min(NOISY_EXAMPLES, problem.sizes["train"])
    found = losses_at(module, problem, torch.stack(points), "train", "batch", examples=examples, metrics=("accuracy",))
    return pd.Series(found["accuracy"].numpy(), index=range(0, NOISY_EVERY * len(points), NOISY_EVERY))


class GradientsByLayer(LectureClaim):
    """G5."""

    name = "G5"
    summary = "batch norm keeps gradient norms more even over the layers than plain networks have them"
    statement = "Batch norm prevents gradients that vanish or explode with depth."
    source = "Ioffe & Szegedy 2015, section 3.3; Yang et al. 2019, A mean field theory of batch normalization"
    method = (
        DEPTH + "torch's initialization, momentum at lr = 0.01, batches of 64. The slope belongs to the least-squares "
        "line of log2 ||dL/dW_l|| over the hidden layers after the first and without the output layer, whose weights "
        "have equal shapes. During training it is the mean of the values after epochs 1, 5 and 10."
    )
    caveat = (
        "torch's default initialization shrinks signals at each layer; with He's initialization plain networks are "
        "balanced at the start. Yang et al. 2019 prove that at initialization batch norm makes gradients grow from "
        "layer to layer towards the input, whatever the initialization's scale. The rule asks that batch norm's slope "
        "is smaller in size than the plain network's, not that it is zero; the reported rows show batch norm's slope."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """Plain and batch norm at two depths."""
        return (experiments.gradients(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Slopes, and the norms by layer at the start for the picture."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.gradients(context.tier).name, seed)
        for kind in (PLAIN, BATCH):
            for depth in (12, 24):
                trial = trials[f"{kind}-{depth}", rate(0.01)]
                for when, epochs in (("initialization", (0,)), ("training", (1, 5, 10))):
                    where: dict[str, Any] = {"setting": f"{when}, depth {depth}", "series": SHOWN[kind]}
                    if trial.lost:
                        for quantity in (
                            "|slope of log2 gradient norm by layer|",
                            "slope of log2 gradient norm by layer",
                        ):
                            rows.add(quantity, None, note=trial.lost, **where)
                        continue
                    norms = {epoch: _norms(trial, epoch) for epoch in epochs}
                    slopes = [slope(found) for found in norms.values()]
                    lost = "" if all(map(math.isfinite, slopes)) else "a gradient vanishes or is not finite"
                    mean = sum(slopes) / len(slopes)
                    size = sum(map(abs, slopes)) / len(slopes)
                    rows.add("|slope of log2 gradient norm by layer|", size, note=lost, **where)
                    rows.add("slope of log2 gradient norm by layer", mean, note=lost, **where)
                    found = norms[epochs[-1]]
                    rows.curve("gradient norm", found.index.to_numpy(float), found.to_numpy(float), **where)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The gradient norm by layer, depth 24."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "gradient norm", curve=True)
        rows = rows[rows["setting"].str.endswith("24")]
        moment = rows["setting"].str.removesuffix(", depth 24").replace("training", "epoch 10")
        rows = rows.assign(series=rows["series"] + ", " + moment)
        return curves(
            rows, "Gradients by layer, depth 24", "layer (1: input)", "gradient norm (loss per unit of weight)",
            log_y=True,
        )  # fmt: skip


def _norms(trial: MeasuredTrial, epoch: int) -> pandas.Series:
    """The gradient's norm by layer after an epoch."""
    table = trial.table("gradient-flow")
    rows = table[(table["quantity"] == "gradient norm") & ((table["epoch"] - epoch).abs() < 1e-6)]
    found: pandas.Series = rows.set_index("depth")["value"].sort_index()
    return found


def slope(norms: pandas.Series) -> float:
    """The least-squares slope of log2 norms by layer, over layers 2 to L - 1; nan where a norm vanishes.

    >>> import pandas as pd
    >>> round(slope(pd.Series({1: 9.0, 2: 1.0, 3: 2.0, 4: 4.0, 5: 0.1})), 9)
    1.0
    """
    import numpy as np

    inner = norms.iloc[1:-1]
    values = inner.to_numpy(float)
    if len(values) < 2 or not (np.isfinite(values) & (values > 0)).all():
        return math.nan
    return float(np.polyfit(inner.index.to_numpy(float), np.log2(values), 1)[0])


class Generalization(TieredClaim):
    """G6."""

    name = "G6"
    summary = "batch norm lowers the held-out error at matched training loss, both networks tuned"
    statement = "Batch norm improves generalization somewhat, beside its help for training."
    source = (
        "Ioffe & Szegedy 2015, section 3.4; Luo et al. 2019, Towards understanding regularization in batch "
        "normalization"
    )
    method = (
        "Each network tries eight rates of momentum with three tuning seeds. Training loss (in evaluation mode) is "
        "matched at the larger of the two final values, for each seed. Each network is read where its loss first "
        "comes down to this level, between two evaluations linearly in the logarithm of the loss."
    )
    caveat = (
        "The matched level may lie early in the training of the faster network. The validation split that is read "
        "also chose the rates, by the best accuracy of a run. The tuned rate differs between the networks, and Bjorck "
        "et al. 2018 put much of batch norm's benefit down to the larger rates that it allows."
    )
    tiers = ("quick", "cpu", "full")
    renamed: ClassVar = {
        tier: dict(zip(experiments.MATCHED["quick"], experiments.MATCHED[tier], strict=True))
        for tier in ("cpu", "full")
    }

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The tuned trials of both networks."""
        return (experiments.generalization(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Held-out errors at matched training loss."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        trials = trials_of(context, experiments.generalization(context.tier).name, seed)
        for name, table in experiments.MATCHED[context.tier].items():
            pair = [trials[experiments.matched_workload(name, kind), "momentum"] for kind in (PLAIN, BATCH)]
            lost = "; ".join(dict.fromkeys(trial.lost for trial in pair if trial.lost))
            errors = [math.nan] * 2 if lost else matched(pair, lambda trial: 1 - series(trial, "valid", "accuracy"))
            for kind, trial, error in zip((PLAIN, BATCH), pair, errors, strict=True):
                where: dict[str, Any] = {"setting": name, "series": SHOWN[kind]}
                value = smoothed_error(1 - error, validation_examples(table)) if math.isfinite(error) else None
                rows.add("held-out error at matched training loss", value, note=lost, **where)
                add(rows, "final training loss", trial, lambda trial: final(trial, "train", "loss"), **where)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The errors of all seeds."""
        from thalweg_plugins.claims.pictures import dots, of

        return dots(
            of(table, "held-out error at matched training loss"), "Error at matched training loss",
            "held-out error (share of 1)", log=True,
        )  # fmt: skip
