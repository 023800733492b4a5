"""L9: warm-up lets larger learning rates train, by lowering sharpness."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims import experiments
from thalweg_plugins.claims.batch_norm.experiments import EPOCHS, PLAIN, network
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas
    import torch

    from thalweg.contracts.claim import ClaimContext, MeasuredTrial, Measurements

POWERS = range(-8, 0)
"""The rates are 2^power."""
SHARE = 0.2
TRAINED = 0.9
SCHEDULES = {"constant": "constant", "warm-up": {"name": "warmup-cosine", "warmup": SHARE, "final": 1.0}}
"""A cosine that ends where it begins is constant after the warm-up."""
INITS = {"torch": "", "he": "He's initialization"}
"""The initializations, and the setting of their rows: the rule asks for torch's, and He's is measured beside it."""


def label(power: int) -> str:
    """The label of a rate.

    >>> label(-3)
    'rate-2-minus-3'
    """
    return f"rate-2-minus-{-power}"


def experiment(tier: str, kind: str) -> Experiment:
    """All rates with one schedule; the weights at a fifth, two fifths, ... of a run with warm-up are kept."""
    keep = {"keep": "trajectory"} if kind == "warm-up" else {}
    every = {"epochs": max(1, round(SHARE * EPOCHS[tier]))}
    workloads = {init: network(tier, 12, PLAIN, init, evaluate_every=every, schedule=SCHEDULES[kind]) for init in INITS}
    return Experiment(
        f"claims-{kind}-{tier}",
        {
            "seeds": experiments.seeds(tier),
            **keep,
            "workloads": workloads,
            "optimizers": {label(power): {"optimizer": "momentum", "lr": 2.0**power} for power in POWERS},
        },
    )


def accuracy(trial: MeasuredTrial) -> float:
    """The last training accuracy; zero for a lost trial."""
    curve = trial.curve()
    rows = curve[(curve["split"] == "train") & (curve["metric"] == "accuracy")].sort_values("step")
    return 0.0 if trial.lost or rows.empty else float(rows["value"].iloc[-1])


def sharpness_at(tier: str, init: str, points: torch.Tensor, seed: int, device: str) -> list[float]:
    """The largest eigenvalue of the training loss's Hessian at each of the weights (T, P) of the tier's network."""
    import torch

    from thalweg.contracts import Draw
    from thalweg.contracts.objective import Objective
    from thalweg.contracts.option import resolve
    from thalweg_plugins.architectures.deep_mlp import DeepMLP
    from thalweg_plugins.claims.later.edge import sharpness
    from thalweg_plugins.claims.stepping import loaded
    from thalweg_plugins.optimizers.flat import move_to
    from thalweg_plugins.problems import PROBLEMS

    workload = network(tier, 12, PLAIN, init)
    name, options = named(workload["problem"])
    problem = next(cls for cls in PROBLEMS if cls.name == name)()
    data = loaded(problem, workload["validation_fraction"], device, torch.float32, **options)
    _, given = named(workload["architecture"])
    architecture = DeepMLP()
    shape = problem.shape(resolve(problem.options, options, name))
    module = architecture.build(resolve(architecture.options, given, architecture.name), shape).to(device)
    draw = Draw(seed, None)
    objective = Objective(module, data, draw)
    objective.begin_step(data.batch("train", 0, draw), 0)
    found = []
    for point in points:
        move_to(objective, point.to(device))
        found.append(sharpness(objective, seed))
    return found


def named(component: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the options of a component in a benchmark file."""
    if isinstance(component, str):
        return component, {}
    return component["name"], {key: value for key, value in component.items() if key != "name"}


class L9(LectureClaim):
    """The largest rate that trains with and without warm-up, and sharpness at the end of warm-up."""

    name = "L9"
    summary = "warm-up raises the largest learning rate that trains, and lowers sharpness"
    statement = "Warm-up lets larger learning rates train, because it leads into regions of lower sharpness first."
    source = "Gilmer et al. 2021, A loss curvature perspective on training instability in deep learning"
    method = (
        "A deep MLP of depth 12 and width 64 without normalisation, torch's initialization, momentum 0.9, batch 64; "
        "quick: digits, 30 epochs; cpu and full: data and epochs of section G. Rates 2^-8, ..., 2^-1. Constant, or "
        "rising in a line over the first 20% of the steps and constant afterwards. A rate trains where the training "
        "accuracy in the end is at least 90%. Sharpness is the largest eigenvalue of the Hessian of the training "
        "loss, at the first weights and at the end of the warm-up of the largest rate that trains with it. The same "
        "with He's initialization is measured beside it."
    )
    fault = (
        "With torch's initialization signals and gradients vanish with depth (F3), and the plain network of depth 12 "
        "trains at none of the rates, with warm-up or without: there is no largest rate to compare. With He's "
        "initialization it trains, as the picture shows."
    )
    caveat = (
        "The source's networks begin sharp. A network that begins in a flat region may become sharper under every "
        "schedule."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """One experiment for each schedule."""
        return tuple(experiment(tier, kind) for kind in SCHEDULES)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Read which rates train, and compute sharpness, for both initializations."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        for init, setting in INITS.items():
            chosen: MeasuredTrial | None = None
            for kind in SCHEDULES:
                given = context.trials(f"claims-{kind}-{context.tier}", seed)
                trials = {trial.optimizer: trial for trial in given if trial.workload == init}
                reached = {power: accuracy(trials[label(power)]) for power in POWERS}
                good = [power for power, value in reached.items() if value >= TRAINED]
                chosen = trials[label(max(good))] if good else None
                name, note = "log2 of the largest rate that trains", "" if good else "no rate trains"
                rows.add(name, max(good) if good else None, setting=setting, series=kind, note=note)
                rates = [2.0**power for power in reached]
                rows.curve("final training accuracy", rates, reached.values(), setting=setting, series=kind)
            # the last of the schedules is warm-up
            self._sharpness(rows, context, seed, init, chosen)
        return rows.table()

    def _sharpness(
        self, rows: Measurements, context: ClaimContext, seed: int, init: str, trial: MeasuredTrial | None
    ) -> None:
        name = "ln of sharpness at the end of warm-up over sharpness at initialization"
        setting = INITS[init] or "largest rate that trains with warm-up"
        if trial is None:
            rows.add(name, None, setting=setting, note="no rate trains with warm-up")
            return
        _, points = trial.trajectory()
        # the second evaluation is at the end of the warm-up
        first, last = sharpness_at(context.tier, init, points[:2], seed, context.device)
        rows.add(name, math.log(last / first) if first > 0 and last > 0 else None, setting=setting)
        rows.add("sharpness", first, setting=setting, series="initialization")
        rows.add("sharpness", last, setting=setting, series="end of warm-up")

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The final accuracy against the rate, with and without warm-up, for both initializations."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "final training accuracy", curve=True)
        inits = {"": "torch's", INITS["he"]: "He's"}
        rows = rows.assign(series=rows["series"] + ", " + rows["setting"].map(inits))
        title = "Final training accuracy by rate"
        return curves(rows, title, "learning rate", "training accuracy in the end", log_x=True)
