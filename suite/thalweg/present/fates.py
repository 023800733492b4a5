"""Why a trial diverged: the bound on its loss, its rate, and what became of the same optimizer at other settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.present.numbers import DASH, GENERAL, WHOLE, format_of
from thalweg.present.sentences import cell
from thalweg.present.table import Column, Table, table
from thalweg.registry import Registry
from thalweg.scoring.intervals import t_interval
from thalweg.store.documents import TrialDocument
from thalweg.store.stored import Stored
from thalweg.training.divergence import FACTOR

MOST = 60
"""Settings whose documents are read, at most."""
STATUSES = ("done", "diverged", "failed")


def bound_sentence() -> str:
    """The rule by which a trial diverges."""
    return (
        f"A trial diverges where its training loss passes {FACTOR:,.0f} times its first loss (times 1 where the first"
        " loss is smaller), or is infinite or no number."
    )


def rate_sentence(document: TrialDocument, registry: Registry) -> str:
    """The trial's learning rate, and the largest curvature at which full-batch steps at this rate are stable.

    On a quadratic, gradient descent is stable up to a largest eigenvalue of 2 / lr of the Hessian: see
    ``Optimizer.stability_limit``, which is lr times the limit. Empty where the optimizer has no rate.
    """
    settings = document.options.get("optimizer", document.trial.optimizer.options)
    lr = settings.get("lr")
    if not isinstance(lr, int | float) or isinstance(lr, bool) or not lr > 0:
        return ""
    told = f"Its learning rate is {cell(float(lr))}"
    if not document.trial.schedule.is_constant:
        told += ", which the schedule changes"
    try:
        optimizer = registry.optimizer(document.trial.optimizer.name)
        limit = optimizer.stability_limit(settings)
    except (UserError, KeyError, TypeError, ValueError, ArithmeticError):
        return f"{told}."
    if limit is None or not math.isfinite(limit):
        return f"{told}."
    of = "the preconditioned Hessian" if optimizer.preconditioned else "the Hessian"
    return (
        f"{told}. On a quadratic, full-batch steps at this rate are stable while the largest eigenvalue of {of} is at"
        f" most {limit / lr:.4g}."
    )


def settings_of(stored: Stored, document: TrialDocument) -> pd.DataFrame:
    """What became of the optimizer's other settings on this workload: one row for each, by its learning rate.

    Columns: ``setting`` (the hyperparameters in which settings differ), ``own`` (whether the trial has the setting),
    ``order`` (its learning rate), ``done``, ``diverged`` and ``failed`` (trials), and ``finals`` (the last values of
    the trials that are done, by split and metric).
    """
    trials = stored.trials
    mine = trials[(trials["workload"] == document.workload) & (trials["optimizer"] == document.optimizer)]
    groups = list(mine.groupby("configuration", sort=False))
    # the trial's own setting comes first, so that no limit leaves it out
    groups.sort(key=lambda group: not (group[1]["hash"] == document.hash).any())
    groups = groups[:MOST]
    options = {}
    for configuration, part in groups:
        found = stored.by_hash.get(str(part["hash"].iloc[0]))
        if found is not None:
            options[configuration] = {
                **found.document.trial.optimizer.options,
                **{"batch_size": found.document.trial.batch_size, "budget": str(found.document.trial.budget)},
            }
    differ = _differing(options.values())
    rows: list[dict[str, Any]] = []
    for configuration, part in groups:
        if configuration not in options:
            continue
        own = options[configuration]
        counts = {status: int((part["status"] == status).sum()) for status in STATUSES}
        rows.append(
            {
                "setting": ", ".join(f"{name}={cell(own.get(name))}" for name in differ) or "the only setting",
                "own": bool((part["hash"] == document.hash).any()),
                "order": own["lr"] if isinstance(own.get("lr"), int | float) else math.inf,
                "finals": [json.loads(text) for text in part.loc[part["status"] == "done", "final"] if text],
                **counts,
            }
        )
    rows.sort(key=lambda row: float(row["order"]))
    return pd.DataFrame(rows)


def settings_table(rows: pd.DataFrame, workload: Workload) -> Table:
    """The rows of ``settings_of`` as a table, with the workload's metric on the split that holds the target."""
    metric = workload.metric
    split = workload.target_split
    columns = [
        Column("own", "", lambda row: "this trial" if row["own"] else "", kind="text", width=80),
        Column("setting", "setting", lambda row: row["setting"], kind="text", pinned=True),
        *(Column(status, status, lambda row, status=status: row[status], WHOLE, width=75) for status in STATUSES),  # type: ignore[misc]
        Column(
            "value",
            f"{split} {metric.name}",
            lambda row: _mean(row["finals"], metric, split),
            format_of(metric.unit) if metric.unit else GENERAL,
            help="the mean over the trials that are done, as on the leaderboard, at the end of training",
        ),
    ]
    return table(columns, rows)


def _mean(finals: Iterable[Mapping[str, Any]], metric: Metric, split: str) -> float:
    values = [final.get(split, {}).get(metric.name) for final in finals]
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    # on logarithms as on the leaderboard, unless a value has none
    log = metric.scale == "log" and all(number > 0 for number in numbers)
    return t_interval(numbers, log=log).value if numbers else math.nan


def _differing(options: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of options in which the mappings differ, the learning rate first."""
    every = list(options)
    names = dict.fromkeys(name for one in every for name in one)
    differ = [name for name in names if len({cell(one.get(name, DASH)) for one in every}) > 1]
    return sorted(differ, key=lambda name: name != "lr")
