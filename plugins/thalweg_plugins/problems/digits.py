"""Handwritten digits that ship with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.contracts.problem import Split
from thalweg.errors import UserError
from thalweg_plugins.problems._starting import chance
from thalweg_plugins.problems._targets import baseline


class Digits(Problem):
    """1,797 images of 8 by 8 pixels in ten classes, as vectors of 64 numbers or as images.

    The test split has 450 images, a quarter of each class, drawn once and for all. A validation fraction of 0.2 leaves
    1,077 of the other 1,347 for training. The loss is the mean cross-entropy in nats. With ``components`` = k the
    inputs are the projections on the k leading principal components of the training split.
    """

    stacks = True
    name = "digits"
    summary = "1,797 real handwritten digits of 8x8 pixels, ten classes; ships with scikit-learn"
    equation = "mean of -log softmax(z)_y"
    source = "Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits; sklearn.datasets.load_digits"
    licence = "CC BY 4.0"
    normalisation = "pixel / 16, less the mean image of the training split"
    metrics = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))
    budget = Budget(epochs=20)
    target = Target(metric="accuracy", value=0.981)
    target_source = baseline("mlp")
    options = (
        Option("layout", "vector", ("vector", "image"), "inputs of shape (64,) or (1, 8, 8)"),
        Option("components", 0, "[0, 64]", "number of leading principal components to use as inputs; 0: all pixels"),
    )

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """64 pixels, an image or the components in; ten classes out. UserError for an image of components."""
        if options["components"] and options["layout"] == "image":
            raise UserError("components are vectors and not images: leave out components, or layout = 'image'")
        size = (options["components"] or 64,)
        return Shape("classification", (1, 8, 8) if options["layout"] == "image" else size, (10,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of chance among ten classes."""
        return chance([0.1] * 10, metric)

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """1,347 and 450."""
        return {"train": 1347, "test": 450}

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Split, scale, centre and project."""
        from thalweg.contracts.losses import CrossEntropy
        from thalweg.contracts.supervised import Supervised
        from thalweg_plugins.problems._sklearn_digits import digits, principal_components

        splits = digits(context.validation_fraction)
        train = splits["train"][0]
        mean = train.mean(0)
        shape = self.shape(options).input
        count = options["components"]
        axes = principal_components(train - mean, count) if count else None
        data = {
            split: (
                (x - mean if axes is None else (x - mean) @ axes).view(-1, *shape).to(context.device, context.dtype),
                y.to(context.device),
            )
            for split, (x, y) in splits.items()
        }
        return Supervised(data, CrossEntropy(), self.metrics)
