"""What tuning found of one optimizer on one workload: how each setting did, and the best of them for each budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from thalweg.plan import Choice, Workload
from thalweg.store.stored import Stored
from thalweg.tuning.choice import choice_of
from thalweg.tuning.space import HIGH, LOW, Point

COLUMNS = [
    "workload",
    "optimizer",
    "setting",
    "lr",
    "extension",
    "value",
    "loss",
    "status",
    "selected",
    "at_edge",
    "steps",
    "gradient_evaluations",
]
"""``setting`` in words, ``lr`` where it is all that was searched, ``selected`` the budgets for which it is the best."""


There = Mapping[str, tuple[int, str]]
"""The number and the status of each trial on disk, by hash."""


@dataclass
class Tried:
    """A setting that was tried, and its results."""

    setting: dict[str, float]
    number: int
    """The place in the sequence of points inside the range, from 0."""
    hashes: list[str]
    """The hash of each trial, one for each seed."""
    point: Point | None = None
    """Where the setting lies beyond the range; None inside."""
    score: float = math.nan
    """The mean over seeds of the best validation value, the larger the better; minus infinity where one did not end."""
    loss: float = math.inf
    status: str = "missing"
    begun: bool = False
    """Whether the trial of the first seed is on disk."""
    hopeless: bool = False
    """Whether the first seed diverged, failed, or was never better than its start, and the rule stops such settings."""
    steps: int = 0
    gradient_evaluations: int = 0
    scores: tuple[float, ...] = ()
    """The validation value of each seed, the larger the better; empty where one did not end."""
    losses: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    """Every value of the metric and of the loss that its trials were evaluated to, one after the other."""

    @property
    def rank(self) -> tuple[float, float]:
        """To be made as large as can be: accuracies have many ties, which the loss decides."""
        return self.score, -self.loss


@dataclass
class Outcome:
    """The settings of an optimizer that were tried on a workload."""

    workload: Workload
    optimizer: str
    tried: list[Tried]
    best: dict[int, Tried] = field(default_factory=dict)
    """By budget; empty until every setting has been tried."""
    fixed_rates: dict[str, float] = field(default_factory=dict)
    """Learning rates of other parameters, which were not searched, and their values."""
    paid: dict[int, list[Point]] = field(default_factory=dict)
    """The settings beyond the range that each budget takes; empty where no range was extended."""

    @property
    def complete(self) -> bool:
        """False while trials are missing on disk."""
        return all(one.status != "missing" for one in self.tried)

    @property
    def without_effect(self) -> str:
        """The searched hyperparameters, if all settings finished with equal curves; empty if settings matter."""
        return self._effectless(self.counted)

    @property
    def counted(self) -> list[Tried]:
        """The settings of the largest budget. Those that only a smaller budget pays for are left out."""
        return self.settings(max(self.best)) if self.best else self.tried

    @staticmethod
    def _effectless(tried: Sequence[Tried]) -> str:
        if len(tried) < 2 or any(one.status != "done" for one in tried):
            return ""
        return " and ".join(tried[0].setting) if len({one.curve for one in tried}) == 1 else ""

    @property
    def at_edge(self) -> bool:
        """Whether a better setting may lie beyond the range that was tried.

        This is so if the best setting of the largest budget has the smallest or the largest value of a hyperparameter
        that this budget tried, or if no setting finished. It is not so if settings have no effect.
        """
        if not self.best or self.without_effect:
            return False
        return self._edges(self.best[max(self.best)], self.settings(max(self.best)))

    def ends(self, budget: int) -> list[str]:
        """The ends of a range beyond which a better setting may lie, as far as the budget's own settings tell.

        Only a single hyperparameter has two ends. Where no setting finished, either may be the right one.
        """
        best, paid = self.best[budget], self.settings(budget)
        if self._effectless(paid) or len(best.setting) > 1 or not self._edges(best, paid):
            return []
        if best.score == -math.inf:
            return [LOW, HIGH]
        ((name, value),) = best.setting.items()
        return [LOW if value == min(one.setting[name] for one in paid) else HIGH]

    @staticmethod
    def _edges(best: Tried, paid: Sequence[Tried]) -> bool:
        if best.score == -math.inf:
            return True
        for name, value in best.setting.items():
            values = {one.setting[name] for one in paid}
            if len(values) > 1 and value in (min(values), max(values)):
                return True
        return False

    def settings(self, budget: int) -> list[Tried]:
        """The settings that a budget pays for: its points inside the range, and those of its own extension."""
        beyond = set(self.paid.get(budget, ()))
        return [one for one in self.tried if (one.number < budget if one.point is None else one.point in beyond)]

    def choose(self, budgets: Sequence[int]) -> None:
        """Take the best setting of each budget, the first of equals."""
        for budget in budgets:
            self.best[budget] = max(self.settings(budget), key=lambda one: one.rank)

    def choice(self, budget: int) -> Choice:
        """What the choice of a budget's setting adds to the variance of a mean: see ``choice.choice_of``."""
        ended = [one for one in self.settings(budget) if one.scores and math.isfinite(one.score)]
        if not ended or self._effectless(self.settings(budget)):
            return Choice()
        return choice_of(np.array([one.scores for one in ended]), np.array([one.losses for one in ended]))

    def rows(self) -> list[dict[str, Any]]:
        """A row a setting, see COLUMNS, in the order of the first hyperparameter; none is the best of equals."""
        nothing = bool(self.without_effect)
        sign = 1.0 if self.workload.metric.better == "higher" else -1.0
        rows = []
        for one in sorted(self.tried, key=lambda one: list(one.setting.values())):
            budgets = [budget for budget, best in self.best.items() if best is one and not nothing]
            rows.append(
                {
                    "workload": self.workload.name,
                    "optimizer": self.optimizer,
                    "setting": ", ".join(f"{name}={value:g}" for name, value in one.setting.items()),
                    "lr": one.setting["lr"] if set(one.setting) == {"lr"} else math.nan,
                    "extension": one.point is not None,
                    "value": one.score * sign if math.isfinite(one.score) else math.nan,
                    "loss": one.loss if math.isfinite(one.loss) else math.nan,
                    "status": one.status,
                    "selected": " ".join(map(str, budgets)),
                    "at_edge": self.at_edge and max(self.best) in budgets,
                    "steps": one.steps,
                    "gradient_evaluations": one.gradient_evaluations,
                }
            )
        return rows


def read_scores(outcomes: Sequence[Outcome], stored: Stored, there: There, stop_hopeless: bool = False) -> None:
    """Read the results of each setting of some optimizers on one workload.

    With ``stop_hopeless``, further seeds of a setting whose first seed is hopeless count as stopped and not as missing,
    and the setting loses to every setting that is not hopeless.

    A trial's value is the workload's metric on the validation split at the best evaluation, where weights are selected.
    Without a validation split it is the metric on the training split at the end. A trial that diverged or failed has no
    value.
    """
    nowhere = (-1, "missing")
    tried = [one for outcome in outcomes for one in outcome.tried]
    mine = [there[hash_][0] for one in tried for hash_ in one.hashes if hash_ in there]
    rows = _rows(stored, pd.Index(mine, dtype="int64"), outcomes[0].workload)
    for one in tried:
        places = [there.get(hash_, nowhere) for hash_ in one.hashes]
        found = [rows.get(number) for number, _ in places]
        one.status = _worst([status for _, status in places])
        one.steps = sum(row["steps"] for row in found if row)
        one.gradient_evaluations = sum(row["gradient_evaluations"] for row in found if row)
        one.begun = one.hashes[0] in there
        if stop_hopeless and one.begun and (places[0][1] != "done" or not (found[0] or {}).get("improved")):
            one.hopeless = True
            one.status = "stopped" if one.status in ("missing", "done") else one.status
        whole = [row for row in found if row] if one.status == "done" else []
        one.score = sum(row["score"] for row in whole) / len(one.hashes) if len(whole) == len(one.hashes) else -math.inf
        one.scores = tuple(row["score"] for row in whole) if len(whole) == len(one.hashes) else ()
        one.losses = tuple(row["loss"] for row in whole) if one.scores else ()
        one.loss = sum(row["loss"] for row in whole) / len(one.hashes) if whole else math.inf
        one.curve = tuple(value for row in whole for value in row["curve"])


def _rows(stored: Stored, chosen: pd.Index, workload: Workload) -> dict[int, dict[str, Any]]:
    """For each trial, by its number: the score, the loss at that step, steps and gradient evaluations."""
    split, metric = workload.target_split, workload.metric
    columns = ["step", "gradient_evaluations", "split", "metric", "value"]
    curves = stored.curves(columns, chosen, {"split": {split}, "metric": {metric.name, "loss"}})
    sign = 1.0 if metric.better == "higher" else -1.0
    measured, lost = ((curves["metric"] == name).to_numpy() for name in (metric.name, "loss"))
    # arrays, since a benchmark has thousands of short curves: a table of each takes a hundred times as long
    trials, steps, evaluations, values = (
        curves[name].to_numpy() for name in ("trial", "step", "gradient_evaluations", "value")
    )
    found: dict[int, dict[str, Any]] = {}
    for start, end in pairwise(np.flatnonzero(np.diff(trials, prepend=-1, append=-1))):
        step, value, is_measured, is_loss = (each[start:end] for each in (steps, values, measured, lost))
        at, scores = step[is_measured], sign * value[is_measured]
        counts = np.isfinite(scores)
        if split != "valid":
            counts &= at == at[-1]  # the value at the end, if it is one
        best = int(np.where(counts, scores, -math.inf).argmax()) if counts.any() else None
        found[int(trials[start])] = {
            "improved": best is not None and bool(at[best] > at[0]),
            "score": -math.inf if best is None else float(scores[best]),
            "loss": math.inf if best is None else float(value[is_loss][step[is_loss] == at[best]][0]),
            "curve": value[np.lexsort((step, is_measured))].tolist(),
            "steps": int(step.max()),
            "gradient_evaluations": int(evaluations[start:end].max()),
        }
    return found


def _worst(statuses: Sequence[str]) -> str:
    for status in ("missing", "failed", "diverged"):
        if status in statuses:
            return status
    return "done"
