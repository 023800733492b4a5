"""What tuning found of one optimizer on one workload: how each setting did, and the best of them for each budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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


def read_scores(tried: Sequence[Tried], stored: Stored, workload: Workload, stop_hopeless: bool = False) -> bool:
    """Read the results of each setting; False while trials are missing on disk.

    With ``stop_hopeless``, further seeds of a setting whose first seed is hopeless count as stopped and not as missing,
    and the setting loses to every setting that is not hopeless.

    A trial's value is the workload's metric on the validation split at the best evaluation, where weights are selected.
    Without a validation split it is the metric on the training split at the end. A trial that diverged or failed has no
    value.
    """
    there = stored.trials.drop_duplicates("hash", keep="last")
    numbers = dict(zip(there["hash"], there.index, strict=True))
    statuses = dict(zip(there["hash"], there["status"], strict=True))
    mine = [hash_ for one in tried for hash_ in one.hashes if hash_ in numbers]
    rows = _rows(stored, pd.Index([numbers[hash_] for hash_ in mine], dtype="int64"), workload)
    for one in tried:
        found = [rows.get(numbers.get(hash_, -1)) for hash_ in one.hashes]
        one.status = _worst([statuses.get(hash_, "missing") for hash_ in one.hashes])
        one.steps = sum(row["steps"] for row in found if row)
        one.gradient_evaluations = sum(row["gradient_evaluations"] for row in found if row)
        one.begun = one.hashes[0] in statuses
        if stop_hopeless and one.begun and (statuses[one.hashes[0]] != "done" or not (found[0] or {}).get("improved")):
            one.hopeless = True
            one.status = "stopped" if one.status in ("missing", "done") else one.status
        whole = [row for row in found if row] if one.status == "done" else []
        one.score = sum(row["score"] for row in whole) / len(one.hashes) if len(whole) == len(one.hashes) else -math.inf
        one.scores = tuple(row["score"] for row in whole) if len(whole) == len(one.hashes) else ()
        one.losses = tuple(row["loss"] for row in whole) if one.scores else ()
        one.loss = sum(row["loss"] for row in whole) / len(one.hashes) if whole else math.inf
        one.curve = tuple(value for row in whole for value in row["curve"])
    return all(one.status != "missing" for one in tried)


def _rows(stored: Stored, chosen: pd.Index, workload: Workload) -> dict[int, dict[str, Any]]:
    """For each trial, by its number: the score, the loss at that step, steps and gradient evaluations."""
    split, metric = workload.target_split, workload.metric
    columns = ["step", "gradient_evaluations", "split", "metric", "value"]
    curves = stored.curves(columns, chosen, {"split": {split}, "metric": {metric.name, "loss"}})
    sign = 1.0 if metric.better == "higher" else -1.0
    found: dict[int, dict[str, Any]] = {}
    for number, rows in curves.groupby("trial"):
        values = sign * rows.loc[rows["metric"] == metric.name].set_index("step")["value"]
        losses = rows.loc[rows["metric"] == "loss"].set_index("step")["value"]
        finite = values[values.map(math.isfinite)]
        if split != "valid":
            finite = finite[finite.index == values.index[-1]]  # the value at the end, if it is one
        place = int(finite.to_numpy().argmax()) if len(finite) else None
        found[int(str(number))] = {
            "improved": place is not None and int(finite.index[place]) > int(values.index[0]),
            "score": -math.inf if place is None else float(finite.iloc[place]),
            "loss": math.inf if place is None else float(losses.loc[finite.index[place]]),
            "curve": rows.sort_values(["metric", "step"], kind="stable")["value"].tolist(),
            "steps": int(rows["step"].max()),
            "gradient_evaluations": int(rows["gradient_evaluations"].max()),
        }
    return found


def _worst(statuses: Sequence[str]) -> str:
    for status in ("missing", "failed", "diverged"):
        if status in statuses:
            return status
    return "done"
