"""Scikit-learn's digits, split once and for all. Imports torch, so it is imported only when data is loaded."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.contracts.problem import Split
from thalweg.contracts.supervised import split_off

TEST_EXAMPLES = 450


def digits(validation_fraction: float) -> dict[Split, tuple[Tensor, Tensor]]:
    """For each split that has examples: pixels divided by 16, (n, 64) in float64, and classes (n,)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    rest, test = train_test_split(range(len(labels)), test_size=TEST_EXAMPLES, random_state=0, stratify=labels)
    x = torch.from_numpy(images).to(torch.float64) / 16
    y = torch.from_numpy(labels).long()
    train_rows, valid_rows = split_off(len(rest), validation_fraction)
    rows: dict[Split, Tensor] = {
        "train": torch.tensor(rest)[train_rows],
        "valid": torch.tensor(rest)[valid_rows],
        "test": torch.tensor(test),
    }
    return {split: (x[index], y[index]) for split, index in rows.items() if len(index)}


def principal_components(centred: Tensor, count: int) -> Tensor:
    """The ``count`` directions of largest variance of centred rows (n, D), as columns (D, count).

    The sign of a direction makes its entry of largest absolute value positive.
    """
    axes: Tensor = torch.linalg.svd(centred, full_matrices=False).Vh[:count].T
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return axes * largest.sign()
