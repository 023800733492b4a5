"""The results and the costs of tuning: each optimizer's best setting, and performance against the tuning budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from thalweg.plan import Choice, PlannedTrial
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import wanted_for
from thalweg.scoring.observations import observe
from thalweg.scoring.scales import settled
from thalweg.store.stored import Stored
from thalweg.tuning.plan import TunedPlan

BEST_COLUMNS = [
    "workload",
    "optimizer",
    "setting",
    "value",
    "at_edge",
    "without_effect",
    "fixed_rates",
    "tried",
    "reached_end",
    "steps",
    "gradient_evaluations",
]


def best_settings(plan: TunedPlan) -> pd.DataFrame:
    """A row for each workload and optimizer: the best setting of the largest budget, and the cost of finding it.

    ``value`` is the mean over tuning seeds on validation. ``at_edge`` says that the setting is the smallest or the
    largest that was tried. ``reached_end`` counts the settings whose trials neither diverged nor failed. Steps and
    gradient evaluations are summed over all settings of the largest budget. The setting is empty if it is not known
    yet, or if the searched hyperparameters have no effect; ``without_effect`` names hyperparameters for which all
    settings gave equal curves. ``fixed_rates`` are learning rates of other parameters, which were not searched.
    """
    rows = []
    for outcome in plan.outcomes:
        tried = pd.DataFrame(outcome.rows())
        best = max(outcome.best, default=None)
        chosen = tried[[str(best) in budgets.split() for budgets in tried["selected"]]]
        without_effect = outcome.without_effect
        # if settings have no effect, each has the value of all
        shown = tried if without_effect else chosen
        rows.append(
            {
                "workload": outcome.workload.name,
                "optimizer": outcome.optimizer,
                "setting": chosen["setting"].iloc[0] if len(chosen) else "",
                "value": shown["value"].iloc[0] if len(shown) else math.nan,
                "at_edge": outcome.at_edge,
                "without_effect": without_effect,
                "fixed_rates": ", ".join(f"{name}={value:g}" for name, value in outcome.fixed_rates.items()),
                "tried": sum(one.status != "missing" for one in outcome.counted),
                "reached_end": sum(one.status == "done" for one in outcome.counted),
                "steps": sum(one.steps for one in outcome.counted),
                "gradient_evaluations": sum(one.gradient_evaluations for one in outcome.counted),
            }
        )
    return pd.DataFrame(rows, columns=BEST_COLUMNS)


def shown_setting(row: Mapping[Any, Any]) -> str:
    """The best setting of a row of ``best_settings`` for people."""
    return row["setting"] or ("any" if row["without_effect"] else "not known yet")


def remark(row: Mapping[Any, Any]) -> str:
    """What is to be said of the best setting of a row of ``best_settings``."""
    said = [f"{row['fixed_rates']} not searched"] if row["fixed_rates"] else []
    if row["without_effect"]:
        said.insert(0, f"{row['without_effect']} has no effect")
    elif row["at_edge"]:
        said.insert(0, "at the end of the searched range" if row["reached_end"] else "no setting finished")
    return "; ".join(said)


def effectless(plan: TunedPlan) -> list[str]:
    """A sentence for each optimizer on a workload for which all settings gave equal curves."""
    return [
        f"{one.workload.name}: {one.optimizer}: {one.without_effect} has no effect: "
        f"all {len(one.tried)} settings gave the very same curves, and none is the best"
        for one in plan.outcomes
        if one.without_effect
    ]


def _choices(plan: TunedPlan, budget: int) -> dict[tuple[str, str], Choice]:
    return {(one.workload.name, one.optimizer): one.choice(budget) for one in plan.outcomes if budget in one.best}


def by_budget(plan: TunedPlan, stored: Stored, metric: str | None = None) -> pd.DataFrame:
    """The leaderboard's rows for each tuning budget, with a column ``budget`` (Sivaprasad et al. 2020).

    The best of a smaller budget's settings trains the final seeds of that budget.
    """
    if not plan.outcomes:
        return pd.DataFrame(columns=["budget"])
    largest = max((budget for outcome in plan.outcomes for budget in outcome.best), default=0)
    trials: Mapping[int, Sequence[PlannedTrial]] = {**plan.smaller, largest: plan.trials}
    wanted = wanted_for(plan.workloads, metric)
    seen = {
        budget: observe(replace(plan, trials=planned, choice=_choices(plan, budget)), stored, None, wanted)
        for budget, planned in sorted(trials.items())
    }
    # one scale for all budgets
    workloads = plan.workloads
    for each in seen.values():
        workloads = settled(workloads, each.curves, metric)
    boards = [leaderboard(each, workloads, metric).assign(budget=budget) for budget, each in seen.items()]
    return pd.concat(boards, ignore_index=True)
