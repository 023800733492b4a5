"""Optimizers whose steps cost more than a gradient each: on an axis of steps, one of theirs stands for several."""

from __future__ import annotations

import pandas as pd

from thalweg.store.stored import Stored

SEVERAL = 1.5
"""Gradients and products in a step from which an optimizer is named."""


def dear_steps(trials: pd.DataFrame, stored: Stored) -> dict[str, float]:
    """Gradients and products with curvature matrices in a step, of the optimizers for which these are several.

    The first trial of an optimizer that trained to its end tells the number.

    Args:
        trials: ``optimizer``, ``status`` and ``hash`` of the trials shown.
        stored: where the trials are.
    """
    ended = trials[trials["status"] == "done"].drop_duplicates("optimizer")
    documents = stored.by_hash
    found = {}
    for optimizer, hash_ in ended[["optimizer", "hash"]].itertuples(index=False):
        trial = documents.get(hash_)
        summary = trial.document.summary if trial is not None else {}
        steps = summary.get("step") or 0
        spent = summary.get("gradient_evaluations", 0) + summary.get("curvature_products", 0)
        if steps and spent / steps >= SEVERAL:
            found[str(optimizer)] = spent / steps
    return found
