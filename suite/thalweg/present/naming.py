"""Names and workloads for trials on disk that the benchmark's plan does not hold."""

from __future__ import annotations

import pandas as pd

from thalweg.contracts import Metric
from thalweg.plan import Plan, Workload, pairs_of
from thalweg.store.documents import ENDED
from thalweg.store.stored import Stored
from thalweg.store.timings import configuration


def labels(plan: Plan, trials: pd.DataFrame) -> list[str]:
    """A label for each trial; two trials of a workload share a label only if they differ in nothing but the seed.

    A trial keeps the label that was recorded with it where its settings are the plan's for that label, or where all
    trials of the label have one setting. Else six digits of a hash follow the label in brackets.
    """
    planned_configuration = {key: configuration(trial) for key, trial in pairs_of(plan.trials).items()}
    keys = list(zip(trials["workload"], trials["optimizer"], strict=True))
    groups: dict[tuple[str, str], set[str]] = {}
    for key, own in zip(keys, trials["configuration"], strict=True):
        groups.setdefault(key, set()).add(own)
    found = []
    for key, own in zip(keys, trials["configuration"], strict=True):
        plain = own == planned_configuration[key] if key in planned_configuration else len(groups[key]) == 1
        found.append(key[1] if plain else f"{key[1]} [{own[:6]}]")
    return found


def guessed_workload(name: str, stored: Stored) -> Workload:
    """A workload whose problem is not here: ranked by its loss, which every problem reports and which is minimised."""
    trials = stored.trials
    table = stored.curves(["split", "metric", "value"], trials.index[trials["status"].isin(ENDED)])
    losses = table.loc[table["metric"] == "loss", "value"]
    loss = Metric("loss", "lower", "log" if (losses > 0).all() else "linear")
    return Workload(
        name,
        (loss,),
        metric=loss,
        split="test" if (table["split"] == "test").any() else "train",
        target=None,
        target_split="train",
        target_metric=None,
    )
