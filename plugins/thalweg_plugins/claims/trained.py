"""What claims read from trials: values at the end, at the selected step, and at matched training loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thalweg.contracts.claim import Decision
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from thalweg.contracts.claim import ClaimContext, MeasuredTrial, Measurements

Trials = dict[tuple[str, str], "MeasuredTrial"]
"""Trials of one seed by workload and label of the optimizer."""


def trials_of(context: ClaimContext, experiment: str, seed: int) -> Trials:
    """The trials of one seed, by workload and label of the optimizer."""
    return {(trial.workload, trial.optimizer): trial for trial in context.trials(experiment, seed)}


def series(trial: MeasuredTrial, split: str, metric: str) -> pd.Series:
    """The values of a metric on a split, by step."""
    curve = trial.curve()
    rows = curve[(curve["split"] == split) & (curve["metric"] == metric)].sort_values("step")
    return rows.set_index("step")["value"]


def final(trial: MeasuredTrial, split: str, metric: str) -> float:
    """The last value of a metric on a split; nan without a value."""
    found = series(trial, split, metric)
    return float(found.iloc[-1]) if len(found) else math.nan


def smoothed_error(accuracy: float, examples: int) -> float:
    """(k + 1/2) / (n + 1) for k wrong answers among n examples, so that the logarithm of no error is finite.

    >>> round(smoothed_error(0.9, 99), 3)
    0.104
    """
    return ((1 - accuracy) * examples + 0.5) / (examples + 1)


def validation_examples(workload: Mapping[str, Any]) -> int:
    """The number of validation examples of a workload of an experiment.

    >>> validation_examples({"problem": "digits", "validation_fraction": 0.2})
    270
    """
    from thalweg.contracts.option import resolve
    from thalweg.contracts.problem import held_out
    from thalweg_plugins.problems import PROBLEMS

    given = workload["problem"]
    spec = {"name": given} if isinstance(given, str) else dict(given)
    (problem,) = (kind() for kind in PROBLEMS if kind.name == spec["name"])
    options = resolve(problem.options, {key: value for key, value in spec.items() if key != "name"}, problem.name)
    return held_out(problem.sizes(options)["train"], workload["validation_fraction"])


def at_loss(loss: pd.Series, values: pd.Series, level: float) -> float:
    """A quantity where the training loss first comes down to a level; nan where it does not.

    Between the evaluations before and after, the quantity is linear in the logarithm of the loss.

    >>> import pandas as pd
    >>> loss, error = pd.Series({0: 1.0, 10: 0.1, 20: 0.01}), pd.Series({0: 0.5, 10: 0.3, 20: 0.1})
    >>> round(at_loss(loss, error, 10**-1.5), 6)
    0.2
    """
    import numpy as np

    steps = loss.index.intersection(values.index)
    losses, found = loss[steps].to_numpy(float), values[steps].to_numpy(float)
    below = np.flatnonzero(losses <= level)
    if not len(below):
        return math.nan
    at = int(below[0])
    if at == 0 or losses[at] == level or losses[at] <= 0:
        return float(found[at])
    a, b = math.log(losses[at - 1]), math.log(losses[at])
    share = (a - math.log(level)) / (a - b)
    return float(found[at - 1] + share * (found[at] - found[at - 1]))


def matched(pair: Sequence[MeasuredTrial], held_out: Callable[[MeasuredTrial], pd.Series]) -> list[float]:
    """A held-out quantity of two trials at equal training loss: the larger of the two final training losses."""
    losses = [series(trial, "train", "loss") for trial in pair]
    level = max(float(loss.iloc[-1]) for loss in losses)
    return [at_loss(loss, held_out(trial), level) for loss, trial in zip(losses, pair, strict=True)]


def thinned(curve: pd.Series, count: int = 60) -> pd.Series:
    """At most ``count`` points of a curve, the ends included, for a picture."""
    import numpy as np

    if len(curve) <= count:
        return curve
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, count).round().astype(int))]


def add_curve(rows: Measurements, quantity: str, curve: pd.Series, **where: Any) -> None:
    """Add a thinned curve over steps, for the picture."""
    kept = thinned(curve)
    rows.curve(quantity, kept.index.to_numpy(float), kept.to_numpy(float), **where)


def add(
    rows: Measurements, quantity: str, trial: MeasuredTrial, value: Callable[[MeasuredTrial], float], **where: Any
) -> None:
    """Add a value that a trial gives; of a lost trial the value is missing, and the note says why."""
    if trial.lost:
        rows.add(quantity, None, note=trial.lost, **where)
        return
    found = value(trial)
    rows.add(quantity, found, note="" if math.isfinite(found) else "not finite", **where)


def mean_log(values: Iterable[float] | np.ndarray[Any, Any]) -> float:
    """The mean of the logarithms of positive finite values; nan where no value is positive and finite."""
    import numpy as np

    found = np.asarray(list(values), dtype=float)
    found = found[np.isfinite(found) & (found > 0)]
    return float(np.log(found).mean()) if len(found) else math.nan


class TieredClaim(LectureClaim):
    """A claim whose settings have other names in the tiers above quick.

    The rule names the settings of quick. ``renamed`` gives for each other tier the name of each of these settings
    there, and the decision shows the tier's own names.
    """

    renamed: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    def decide(self, table: pd.DataFrame, tier: str) -> Decision:
        """Decide by the rule, under the tier's names."""
        names = self.renamed.get(tier, {})
        back = {there: here for here, there in names.items()}
        table = table.assign(**{column: table[column].replace(back) for column in ("setting", "series")})
        decision = super().decide(table, tier)

        def shown(text: str) -> str:
            for here, there in names.items():
                text = text.replace(here, there)
            return text

        parts = tuple(replace(part, name=shown(part.name), condition=shown(part.condition)) for part in decision.parts)
        return Decision(decision.verdict, parts, shown(decision.condition))

    def synthetic(self, effect: Literal[1, -1], noise: float, tier: str) -> pd.DataFrame:
        """Measurements that the rule decides as ``effect`` says, under the tier's names."""
        names = dict(self.renamed.get(tier, {}))
        table = super().synthetic(effect, noise, tier)
        return table.assign(**{column: table[column].replace(names) for column in ("setting", "series")})
