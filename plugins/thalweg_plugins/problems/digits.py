"""Handwritten digits that ship with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem, Metric, Problem, Shape
from thalweg.contracts import LoadContext

TEST_EXAMPLES = 450


class Digits(Problem):
    """1,797 images of 8 by 8 pixels in ten classes, as vectors of 64 numbers.

    450 images, a quarter of each class drawn once and for all, are the test split; of the other 1,347 a validation
    fraction of 0.2 leaves 1,077 for training. Pixels are divided by 16, and the training split's mean image is
    subtracted from all. The loss is the mean cross-entropy in nats.
    """

    name = "digits"
    summary = "1,797 real handwritten digits of 8x8 pixels, ten classes; ships with scikit-learn"
    equation = "mean of -log softmax(z)_y"
    source = "Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits; sklearn.datasets.load_digits"
    licence = "CC BY 4.0"
    metrics = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """64 pixels, ten classes."""
        return Shape("classification", (64,), (10,))

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Split, scale and centre."""
        import torch
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        from thalweg.contracts.losses import CrossEntropy
        from thalweg.contracts.supervised import Supervised, split_off

        images, labels = load_digits(return_X_y=True)
        rest, test = train_test_split(range(len(labels)), test_size=TEST_EXAMPLES, random_state=0, stratify=labels)
        x = torch.from_numpy(images).to(torch.float64) / 16
        y = torch.from_numpy(labels).long()
        train_rows, valid_rows = split_off(len(rest), context.validation_fraction)
        rows = {
            "train": torch.tensor(rest)[train_rows],
            "valid": torch.tensor(rest)[valid_rows],
            "test": torch.tensor(test),
        }
        mean = x[rows["train"]].mean(0)
        data: Any = {
            split: ((x[index] - mean).to(context.device, context.dtype), y[index].to(context.device))
            for split, index in rows.items()
            if len(index)
        }
        return Supervised(data, CrossEntropy(), self.metrics)
