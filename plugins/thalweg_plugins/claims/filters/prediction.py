"""Claims K3 and L6: whether sharpness predicts the test error over 48 configurations at equal training loss."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from thalweg.contracts.claim import COLUMNS, Decision, Part, Verdict
from thalweg_plugins.claims.filters import experiments
from thalweg_plugins.claims.filters.experiments import LEVELS
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import trials_of

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    from torch import Tensor

    from thalweg.contracts.claim import ClaimContext, Experiment
    from thalweg.scoring.rules import Cells, PartRule
    from thalweg_plugins.claims.networks import Network

    Floats = np.ndarray[Any, np.dtype[np.float64]]

SHARPNESS, ERROR = "sharpness", "test error"
"""The quantities of the measurements; the setting names the configuration."""
RESAMPLES = 2_000
LEVEL_OF_INTERVAL = 0.95
SEED = 2018
"""Draws the resamples of configurations."""
METHOD = (
    "48 configurations: two widths, four batch sizes, two weight decays and three rates of momentum, each with all "
    "seeds. Each network is taken at the first evaluation with a training loss of 0.1 or less (cpu: 0.35), and its "
    "error on the test split is read there. Sharpness and error are averaged over seeds. Granulated tau is the mean "
    "over the four hyperparameters of Kendall's tau within groups of configurations that differ in this "
    "hyperparameter alone; pairs with equal errors count as zero. The interval is the middle 95% of 2,000 resamples "
    "of the configurations. Tau of each hyperparameter alone is reported. "
)
SCOPE = (
    "The interval counts the choice of configurations, not of test images and not of hyperparameters. Tau is a mean "
    "over four hyperparameters only. In simulations where sharpness and error each depend on the four at random, the "
    "interval excludes zero in half of the cases, so the verdict is about this grid; the reported rows show whether "
    "the four agree. Losses are equal up to the distance of two evaluations. "
)
"""What the interval of both claims does not count."""


def differing(settings: Mapping[str, Mapping[str, float]]) -> dict[str, list[tuple[str, str]]]:
    """For each hyperparameter, the pairs of configurations that differ in it alone.

    >>> differing({"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}, "c": {"x": 2, "y": 2}})
    {'x': [('a', 'b')], 'y': [('b', 'c')]}
    """
    names = list(settings)
    pairs: dict[str, list[tuple[str, str]]] = {key: [] for key in next(iter(settings.values()))}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            different = [key for key in pairs if settings[first][key] != settings[second][key]]
            if len(different) == 1:
                pairs[different[0]].append((first, second))
    return pairs


def granulated_tau(
    sharpness: Mapping[str, float],
    errors: Mapping[str, float],
    settings: Mapping[str, Mapping[str, float]],
    copies: Mapping[str, int] | None = None,
    only: str = "",
) -> float:
    """Jiang et al.'s granulated Kendall coefficient: the mean over hyperparameters of the mean sign of pairs.

    The groups of a full grid have equally many pairs, so that the mean of tau over groups is the mean over pairs.

    Args:
        sharpness: by configuration.
        errors: by configuration.
        settings: the hyperparameters of each configuration.
        copies: how often a resample holds each configuration; a pair counts by the product. None: once each.
        only: one hyperparameter, whose tau is asked alone; empty for the mean over all.

    Source: Jiang et al. 2020, Fantastic generalization measures and where to find them.
    """
    import numpy as np

    counts = [[1.0 if copies is None else float(copies.get(name, 0)) for name in settings]]
    (tau,) = _taus(sharpness, errors, settings, np.array(counts), only)
    return float(tau)


def _taus(
    sharpness: Mapping[str, float],
    errors: Mapping[str, float],
    settings: Mapping[str, Mapping[str, float]],
    copies: Floats,
    only: str = "",
) -> Floats:
    """The granulated tau of several resamples; a hyperparameter without a pair in a resample is left out there.

    ``copies`` (R, N) counts each configuration in each resample.
    """
    import numpy as np

    place = {name: number for number, name in enumerate(settings)}
    total, hyperparameters = np.zeros(len(copies)), np.zeros(len(copies))
    for key, pairs in differing(settings).items():
        if not pairs or only not in ("", key):
            continue
        signs = np.array([np.sign((sharpness[a] - sharpness[b]) * (errors[a] - errors[b])) for a, b in pairs])
        first, second = ([place[pair[end]] for pair in pairs] for end in (0, 1))
        weights = copies[:, first] * copies[:, second]
        sums = weights.sum(1)
        there = sums > 0
        total[there] += (weights @ signs)[there] / sums[there]
        hyperparameters[there] += 1
    found: Floats = total / np.where(hyperparameters > 0, hyperparameters, np.nan)
    return found


def bootstrap(
    sharpness: Mapping[str, float],
    errors: Mapping[str, float],
    settings: Mapping[str, Mapping[str, float]],
    only: str = "",
) -> tuple[float, float]:
    """The middle 95% of the granulated tau over resamples of the configurations; ``only`` as for the tau."""
    import numpy as np

    count = len(settings)
    counts = np.random.default_rng(SEED).multinomial(count, [1 / count] * count, size=RESAMPLES)
    taus = _taus(sharpness, errors, settings, counts.astype(float), only)
    tail = (1 - LEVEL_OF_INTERVAL) / 2
    low, high = np.nanquantile(taus, [tail, 1 - tail])
    return float(low), float(high)


def name_of(settings: Mapping[str, float]) -> str:
    """A configuration in words.

    >>> name_of({"width": 16, "lr": 0.1})
    'width 16, lr 0.1'
    """
    return ", ".join(f"{key} {value:g}" for key, value in settings.items())


def settings_of(tier: str) -> dict[str, dict[str, float]]:
    """The hyperparameters of each configuration, by its name."""
    return {name_of(settings): settings for settings in experiments.grid(tier).values()}


class Prediction(LectureClaim):
    """What K3 and L6 share: 48 configurations, and the decision by a bootstrap over them."""

    intervals_over = "configurations"

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The 48 configurations."""
        return (experiments.configurations(tier),)

    @abstractmethod
    def sharpness(self, network: Network, weights: Tensor, seed: int) -> dict[str, float]:
        """The sharpness by series at the weights (P,)."""

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Sharpness and test error of each configuration at the level of training loss."""
        from thalweg.contracts.claim import Measurements
        from thalweg.landscape import losses_at
        from thalweg_plugins.claims.networks import Network, at_training_loss

        rows = Measurements()
        experiment = experiments.configurations(context.tier)
        trials = trials_of(context, experiment.name, seed)
        for (workload, label), settings in experiments.grid(context.tier).items():
            where, trial = name_of(settings), trials[workload, label]
            level = LEVELS[context.tier]
            reached = None if trial.lost else at_training_loss(trial, level)
            if reached is None:
                note = trial.lost or f"a training loss of {level} is not reached"
                for part in self.rule.parts:
                    rows.add(SHARPNESS, None, setting=where, series=part.series, note=note)
                rows.add(ERROR, None, setting=where, note=note)
                continue
            table = experiment.content["workloads"][workload]
            network = context.once(f"width {settings['width']}", partial(Network.of, table))
            _, weights = reached
            for series, value in self.sharpness(network, weights, seed).items():
                rows.add(SHARPNESS, value, setting=where, series=series)
            point = weights.unsqueeze(0)
            accuracy = losses_at(network.module.eval(), network.problem, point, "test", metrics=("accuracy",))[
                "accuracy"
            ]
            rows.add(ERROR, 1 - float(accuracy[0]), setting=where)
        return rows.table()

    def decide(self, table: pandas.DataFrame, tier: str) -> Decision:
        """Decide each part by the interval of its granulated tau; tau of each hyperparameter alone is reported."""
        from thalweg.scoring.rules import cells_of, conclude

        deciding = [part for part in self.rule.parts if not part.reported]
        keys = list(next(iter(settings_of(tier).values())))
        cells = cells_of(table)
        parts = [self._part(part, cells, tier) for part in self.rule.parts]
        return conclude([*parts, *(self._part(part, cells, tier, key) for part in deciding for key in keys)])

    def _part(self, rule: PartRule, cells: Cells, tier: str, only: str = "") -> Part:
        """One part: a configuration with a seed without a value makes it inconclusive.

        With ``only``, tau of this hyperparameter alone, which decides nothing.
        """
        settings = settings_of(tier)
        seeds = range(self.seeds[tier])
        found: list[dict[str, float]] = []
        lost: dict[tuple[int, str], set[str]] = {}
        for quantity, series in ((SHARPNESS, rule.series), (ERROR, "")):
            means: dict[str, float] = {}
            for name in settings:
                values = cells.get((name, quantity, series), {})
                for seed in seeds:
                    value, note = values.get(seed, (math.nan, "not measured"))
                    if not math.isfinite(value):
                        lost.setdefault((seed, note or "not a number"), set()).add(name)
                if all(math.isfinite(values.get(seed, (math.nan, ""))[0]) for seed in seeds):
                    means[name] = sum(values[seed][0] for seed in seeds) / len(seeds)
            found.append(means)
        kept = {name: each for name, each in settings.items() if name in found[0] and name in found[1]}
        bound = rule.bound
        statistic = low = high = math.nan
        pairs = differing(kept) if kept else {}
        if pairs.get(only) if only else any(pairs.values()):
            statistic = granulated_tau(found[0], found[1], kept, only=only)
            low, high = bootstrap(found[0], found[1], kept, only)
        verdict: Verdict = "inconclusive"
        if not lost and low > bound.low:
            verdict = "holds"
        elif not lost and high < bound.low:
            verdict = "not reproduced"
        return Part(
            name=f"tau where {only} alone differs: {rule.series}" if only else f"{rule.quantity}: {rule.series}",
            statistic=statistic,
            low=low,
            high=high,
            threshold=bound.low,
            verdict=verdict,
            side=bound.side,
            reported=rule.reported or bool(only),
            seeds=self.seeds[tier],
            lost=tuple(
                f"seed {seed}: {note} ({next(iter(names)) if len(names) == 1 else f'{len(names)} configurations'})"
                for (seed, note), names in lost.items()
            ),
        )

    def synthetic(self, effect: Literal[1, -1], noise: float, tier: str) -> pandas.DataFrame:
        """Configurations whose error rises (or falls) with their sharpness, and noise that is not related to it."""
        import numpy as np
        import pandas as pd

        settings = settings_of(tier)
        rng = np.random.default_rng(SEED)
        sharpness = rng.permutation(np.linspace(1.0, 2.0, len(settings)))
        unrelated = rng.permutation(np.linspace(-0.5, 0.5, len(settings)))
        rows = []
        for seed in range(self.seeds[tier]):
            for name, sharp, other in zip(settings, sharpness, unrelated, strict=True):
                error = 0.1 + 0.01 * (effect * (sharp - 1.5) + noise * other)
                rows += [(seed, name, SHARPNESS, part.series, math.nan, sharp, "") for part in self.rule.parts]
                rows.append((seed, name, ERROR, "", math.nan, error, ""))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The test error of each configuration against its sharpness."""
        return scatter(table, self.rule.parts[0].series)


def scatter(table: pandas.DataFrame, series: str) -> altair.TopLevelMixin:
    """Mean test error against mean sharpness, a point for each configuration, coloured by the rate."""
    import altair as alt

    from thalweg.present.charts.axes import legend_height, point_legend
    from thalweg.present.charts.palette import category_styles
    from thalweg_plugins.claims.pictures import HEIGHT, of

    rows = of(table, SHARPNESS, ERROR)
    sharp = rows[rows["series"] == series].groupby("setting", sort=False)["value"].mean()
    error = rows[rows["quantity"] == ERROR].groupby("setting", sort=False)["value"].mean()
    frame = sharp.rename("sharpness").to_frame().join(error.rename("error"), how="inner").reset_index()
    frame["lr"] = frame["setting"].str.extract(r"(lr [\d.e-]+)", expand=False).fillna("all")
    names = sorted(frame["lr"].unique())
    styles = category_styles(names)
    shapes = alt.Scale(domain=names, range=[styles[name].shape for name in names])
    colors = alt.Scale(domain=names, range=[styles[name].color for name in names])
    chart: alt.TopLevelMixin = (
        alt.Chart(frame)
        .mark_point(filled=True, size=70, opacity=0.8)
        .encode(
            x=alt.X("sharpness:Q", title=f"{series} (loss)", scale=alt.Scale(type="log"), axis=alt.Axis(format="~g")),
            y=alt.Y("error:Q", title="test error (share of 1)", scale=alt.Scale(zero=False)),
            color=alt.Color("lr:N", scale=colors, legend=point_legend()),
            shape=alt.Shape("lr:N", scale=shapes, legend=point_legend()),
            tooltip=["setting:N", alt.Tooltip("sharpness:Q", format=".3g"), alt.Tooltip("error:Q", format=".3g")],
        )
        .properties(title="Sharpness and test error", width="container", height=HEIGHT + legend_height(len(names)))
    )
    return chart


class FilterNormalisedSharpness(Prediction):
    """K3."""

    name = "K3"
    summary = "filter-normalised curvature predicts the test error over 48 configurations at equal training loss"
    statement = "Sharpness under filter normalisation predicts how well a network generalizes."
    source = "Li, Xu, Taylor, Studer & Goldstein 2018, sections 4 and 5; Jiang et al. 2020 for the statistic"
    method = METHOD + (
        "Sharpness is the curvature at 0 of the training loss along a direction, d'Hd, the mean over ten random "
        "directions in float64; filter-normalised directions have the norm of each filter, raw ones are standard "
        "normal."
    )
    caveat = (
        "In quick, 450 test images and networks of two hidden layers are too small to say much. "
        + SCOPE
        + "Jiang et al. correlate with the gap between training and test error; at equal training loss the test error "
        "stands for it. Dinh et al. 2017 make any raw sharpness by rescaling. Jiang et al. 2020 and Andriushchenko et "
        "al. 2023 find that the relation depends on the measure and on the hyperparameters that vary."
    )
    tiers = ("quick", "cpu", "full")

    def sharpness(self, network: Network, weights: Tensor, seed: int) -> dict[str, float]:
        """The mean curvature along normalised and along raw directions."""
        return {
            "filter-normalised curvature": network.curvature(weights, 10, seed, filters=True),
            "raw curvature": network.curvature(weights, 10, seed, filters=False),
        }


class AdaptiveSharpness(Prediction):
    """L6."""

    name = "L6"
    summary = "adaptive sharpness predicts the test error over 48 configurations at equal training loss"
    statement = "Sharpness that does not depend on the scale of the weights predicts how well a network generalizes."
    source = (
        "Andriushchenko, Croce, Müller, Hein & Flammarion 2023, A modern look at the relationship between sharpness "
        "and generalization; Kwon et al. 2021 (ASAM)"
    )
    method = METHOD + (
        "Adaptive sharpness moves each weight by at most 1% of its size. Worst case: the largest rise of the training "
        "loss that 20 steps of gradient ascent from the weights find, a lower bound. Average: the mean rise over ten "
        "pairs of Gaussian points with a deviation of 1% of each weight. Both in float64."
    )
    caveat = (
        "Andriushchenko et al. find that adaptive sharpness does not correlate well with "
        "generalization on modern networks. In quick, 450 test images and small networks "
        "are too few to say much. " + SCOPE + "One radius is "
        "measured."
    )
    tiers = ("quick", "cpu", "full")

    def sharpness(self, network: Network, weights: Tensor, seed: int) -> dict[str, float]:
        """The worst case and the average within 1% of each weight."""
        import torch

        from thalweg_plugins.probes.sharpness import Ball

        ball = Ball(network.objective(weights), "element")
        generator = torch.Generator().manual_seed(seed)
        worst = ball.ascend(0.01, 20, generator, random=False)
        average, _, _ = ball.average(0.01, 10, generator)
        return {"worst-case adaptive sharpness": worst, "average adaptive sharpness": average}
