"""Tables of trials: their list with links, and the settings and facts of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from thalweg.present.sentences import cell
from thalweg.store.documents import TrialDocument
from thalweg.trial import Trial


def trial_list(trials: pd.DataFrame, rates: Sequence[float | None], place: Mapping[str, str]) -> pd.DataFrame:
    """The trials with their rates, each with a link to its page.

    Args:
        trials: one row for each.
        rates: the learning rate of each; None where it has none.
        place: the link's parameters besides the trial.
    """
    table = trials[["workload", "optimizer", "seed", "status", "ranks"]].copy()
    table.insert(2, "lr", pd.Series(rates, table.index, dtype="Float64"))
    table["page"] = ["trial?" + urlencode({**place, "trial": hash_}) for hash_ in trials["hash"]]
    return table.assign(reason=trials["reason"])


def asked(document: TrialDocument) -> pd.DataFrame:
    """Every setting of a trial: its component, its value, and whether the value is the default."""
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
    where = "alone" if trial.stack is None else "batched"
    rows.append({"component": "trial", "setting": "batched", "value": where, "default": ""})
    rows.append({"component": "trial", "setting": "budget", "value": str(trial.budget), "default": ""})
    same = "yes" if trial.schedule.is_constant else ""
    rows.append({"component": "trial", "setting": "schedule", "value": str(trial.schedule), "default": same})
    every = ", ".join(f"{amount} {unit}" for unit, amount in trial.evaluate_every.model_dump(exclude_none=True).items())
    same = "yes" if trial.evaluate_every == defaults["evaluate_every"] else ""
    rows.append({"component": "trial", "setting": "evaluate_every", "value": every, "default": same})
    return pd.DataFrame(rows)


def facts(values: Mapping[str, Any]) -> pd.DataFrame:
    """A nested mapping as two columns; a dot joins outer and inner keys."""
    return pd.DataFrame(_flat(values), columns=["what", "value"])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", cell(value)
