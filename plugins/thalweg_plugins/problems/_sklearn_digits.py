"""Scikit-learn's digits, split once and for all. Imports torch, so it is imported only when data is loaded."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.contracts.problem import Split
from thalweg.contracts.supervised import split_off

TEST_EXAMPLES = 450
ORDER = Path(__file__).parent / "data" / "digits-order.npy"
"""The examples in the order of the split, the last TEST_EXAMPLES for the test: the result of
``train_test_split(range(1797), test_size=450, random_state=0, stratify=labels)``."""


def digits(validation_fraction: float) -> dict[Split, tuple[Tensor, Tensor]]:
    """For each split that has examples: pixels divided by 16, (n, 64) in float64, and classes (n,)."""
    images, labels = _images_and_labels()
    order = torch.from_numpy(np.load(ORDER, allow_pickle=False).astype(np.int64))
    rest, test = order[:-TEST_EXAMPLES], order[-TEST_EXAMPLES:]
    x = torch.from_numpy(images).to(torch.float64) / 16
    y = torch.from_numpy(labels).long()
    train_rows, valid_rows = split_off(len(rest), validation_fraction)
    rows: dict[Split, Tensor] = {"train": rest[train_rows], "valid": rest[valid_rows], "test": test}
    return {split: (x[index], y[index]) for split, index in rows.items() if len(index)}


def _images_and_labels() -> tuple[Any, Any]:
    """Pixels (1797, 64) and classes (1797,), from scikit-learn's file: importing scikit-learn takes 0.8 s."""
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as file:
                table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images, labels


def principal_components(centred: Tensor, count: int) -> Tensor:
    """The ``count`` directions of largest variance of centred rows (n, D), as columns (D, count).

    The sign of a direction makes its entry of largest absolute value positive.
    """
    axes: Tensor = torch.linalg.svd(centred, full_matrices=False).Vh[:count].T
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return axes * largest.sign()
