"""Tables that pages show: DataFrames and documents in, DataFrames out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from thalweg.benchmark import Workload
from thalweg.contracts import Component, Hyperparameter, Metric
from thalweg.present.sentences import cell, interval, ranks
from thalweg.present.view import IN_BENCHMARK
from thalweg.store.documents import TrialDocument
from thalweg.trial import Trial


def standings(
    board: pd.DataFrame, workload: Workload, metric: Metric, trials: pd.DataFrame, sparks: Mapping[str, list[float]]
) -> pd.DataFrame:
    """A workload's rows of a leaderboard by a metric, as they are shown: text where a number alone says too little."""
    unit = metric.unit
    origins = trials.groupby("optimizer")["in_benchmark"].agg(
        lambda part: IN_BENCHMARK if (part == IN_BENCHMARK).any() else part.iloc[0]
    )
    rows = []
    for row in board.to_dict("records"):
        rows.append(
            {
                "rank": ranks(row["rank_low"], row["rank_high"]),
                "optimizer": row["optimizer"],
                "in_benchmark": origins[row["optimizer"]],
                "value": 100 * row["value"] if unit == "%" else row["value"],
                "interval": interval(row["low"], row["high"], unit),
                "curve": sparks.get(row["optimizer"], []),
                "reached": f"{row['reached']} of {row['seeds']}" if workload.target else "–",
                "steps_to_target": row["steps_to_target"],
                "seeds": row["seeds"],
                "diverged": row["diverged"],
                "failed": row["failed"],
            }
        )
    return pd.DataFrame(rows)


def trial_list(trials: pd.DataFrame, place: Mapping[str, str]) -> pd.DataFrame:
    """The trials, each with a link to its page; ``place`` is what the link carries besides the trial."""
    table = trials[["workload", "optimizer", "seed", "status", "in_benchmark"]].copy()
    table["page"] = ["trial?" + urlencode({**place, "trial": hash_}) for hash_ in trials["hash"]]
    return table.assign(reason=trials["reason"])


def asked(document: TrialDocument) -> pd.DataFrame:
    """Everything that a trial was asked to be: component, setting, value, and whether that is the default."""
    trial = document.trial
    rows: list[dict[str, Any]] = []
    for kind in ("problem", "architecture", "optimizer"):
        ref = getattr(trial, kind)
        rows.append({"component": kind, "setting": "name", "value": ref.name, "default": ""})
        for name, value in document.options.get(kind, ref.options).items():
            default = "" if name in ref.options else "yes"
            rows.append({"component": kind, "setting": name, "value": cell(value), "default": default})
        rows.append({"component": kind, "setting": "provider", "value": ref.provider, "default": ""})
    defaults = {name: field.default for name, field in Trial.model_fields.items()}
    recipe = ("clip_norm", "coupled_weight_decay", "decoupled_weight_decay", "weight_decay_on")
    for name in ("batch_size", "validation_fraction", *recipe, "dtype", "precision", "device", "seed"):
        value = getattr(trial, name)
        same = "yes" if value == defaults[name] else ""
        rows.append({"component": "trial", "setting": name, "value": cell(value), "default": same})
    where = "alone" if trial.stack is None else f"place {trial.place} of {trial.stack.size}"
    rows.append({"component": "trial", "setting": "batched", "value": where, "default": ""})
    rows.append({"component": "trial", "setting": "budget", "value": str(trial.budget), "default": ""})
    same = "yes" if trial.schedule.is_constant else ""
    rows.append({"component": "trial", "setting": "schedule", "value": str(trial.schedule), "default": same})
    every = ", ".join(f"{amount} {unit}" for unit, amount in trial.evaluate_every.model_dump(exclude_none=True).items())
    same = "yes" if trial.evaluate_every == defaults["evaluate_every"] else ""
    rows.append({"component": "trial", "setting": "evaluate_every", "value": every, "default": same})
    return pd.DataFrame(rows)


def facts(values: Mapping[str, Any]) -> pd.DataFrame:
    """A nested mapping as two columns, inner keys after a dot."""
    return pd.DataFrame(_flat(values), columns=["what", "value"])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", cell(value)


def options(component: Component) -> pd.DataFrame:
    """The declared settings of a component: default, what is allowed, where tuning searches."""
    rows = []
    for option in component.options:
        search = option.search if isinstance(option, Hyperparameter) else None
        rows.append(
            {
                "name": option.name,
                "default": cell(option.default),
                "allowed": cell(option.allowed) if option.allowed else "any",
                "search": f"{search.low:g} to {search.high:g} ({search.scale})" if search else "–",
                "what": option.summary,
            }
        )
    return pd.DataFrame(rows, columns=["name", "default", "allowed", "search", "what"])
