"""What the keys of other tools mean: ``val_acc`` is the accuracy on the validation split."""

from __future__ import annotations

import re
from typing import NamedTuple

from thalweg.contracts import Metric

SPLITS = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "eval": "valid",
    "test": "test",
    "testing": "test",
}
"""The split that a word of a key means."""

METRICS = {
    "acc": "accuracy",
    "accuracy": "accuracy",
    "top1": "accuracy",
    "loss": "loss",
    "nll": "loss",
    "ppl": "perplexity",
    "perplexity": "perplexity",
    "error": "error",
    "err": "error",
    "mse": "mse",
    "rmse": "rmse",
    "mae": "mae",
    "f1": "f1",
    "auc": "auc",
    "auroc": "auc",
    "bleu": "bleu",
    "r2": "r2",
    "iou": "iou",
    "map": "map",
    "dice": "dice",
}
"""The metric that a word of a key means."""

HIGHER = frozenset({"accuracy", "f1", "auc", "bleu", "r2", "iou", "map", "dice"})
"""Known metrics of which more is better."""

LOWER = frozenset(METRICS.values()) - HIGHER
"""Known metrics of which less is better."""

LEFT_OUT = frozenset({"lr", "learning", "grad", "gradient", "norm", "time", "memory", "eta", "speed", "rate"})
"""Words of keys that are no metrics."""


class Key(NamedTuple):
    """A split and a metric."""

    split: str
    metric: str


def guessed(key: str) -> Key | None:
    """The split and the metric that a key means; None where it says no known metric.

    A key without a split is of the training.

    >>> guessed("val_acc"), guessed("Loss/train"), guessed("eval_loss"), guessed("loss"), guessed("lr-SGD")
    (Key(split='valid', metric='accuracy'), Key(split='train', metric='loss'), Key(split='valid', metric='loss'), \
Key(split='train', metric='loss'), None)
    """
    text = re.sub(r"([a-z])([A-Z])", r"\1_\2", key).lower().replace("error_rate", "error")
    words = [word for word in re.split(r"[^a-z0-9]+", text) if word]
    if any(word in LEFT_OUT for word in words):
        return None
    splits = [SPLITS[word] for word in words if word in SPLITS]
    metrics = [METRICS[word] for word in words if word in METRICS]
    if len(metrics) != 1 or len(set(splits)) > 1:
        return None
    return Key(splits[0] if splits else "train", metrics[0])


def direction(metric: str, better: dict[str, str]) -> str | None:
    """Which direction of a metric is better: as told, or as known; None where it is neither."""
    if metric in better:
        return better[metric]
    return "higher" if metric in HIGHER else "lower" if metric in LOWER else None


def metric_of(name: str, better: str, values: tuple[float, float]) -> Metric:
    """A metric with its scale and unit: per cent for shares of one, a log scale for losses never below zero.

    ``values`` are the smallest and the largest value; nan where there are none.
    """
    low, high = values
    share = name in HIGHER and 0 <= low <= high <= 1
    log = better == "lower" and low >= 0
    return Metric(name, "higher" if better == "higher" else "lower", "log" if log else "linear", "%" if share else "")
