"""MNIST in one dimension."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.contracts.problem import Split
from thalweg_plugins.problems._starting import chance
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    import numpy as np


class MNIST1D(Problem):
    """5,000 sequences of 40 numbers in ten classes: templates of the digits, padded, stretched, shifted and noisy.

    The package ``mnist1d`` makes them with its default seed, 42: 4,000 examples for training, including the validation
    split, and 1,000 for testing. The loss is the mean cross-entropy in nats.
    """

    stacks = True
    name = "mnist1d"
    summary = "5,000 synthetic one-dimensional digits of 40 points, ten classes; small, and hard for linear models"
    equation = "mean of -log softmax(z)_y"
    source = "Greydanus & Kobak 2024, Scaling down deep learning with MNIST-1D; package mnist1d"
    licence = "Apache 2.0"
    normalisation = "mean 0 and deviation 1 over all examples, by the recipe"
    metrics = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))
    budget = Budget(epochs=50)
    target = Target(metric="accuracy", value=0.658)
    target_source = baseline("mlp, widths 128, 128")
    options = (Option("layout", "vector", ("vector", "sequence"), "inputs of shape (40,) or (1, 40)"),)

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """40 numbers, ten classes."""
        return Shape("classification", (1, 40) if options["layout"] == "sequence" else (40,), (10,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of chance among ten classes."""
        return chance([0.1] * 10, metric)

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """4,000 and 1,000."""
        return {"train": 4000, "test": 1000}

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Generate and split."""
        import torch

        from thalweg.contracts.losses import CrossEntropy
        from thalweg.contracts.supervised import Supervised, split_off

        made = _made()
        shape = self.shape(options).input

        def pair(part: str, rows: Any = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
            x = torch.from_numpy(made[f"x{part}"])[rows].view(-1, *shape)
            return x.to(context.device, context.dtype), torch.from_numpy(made[f"y{part}"])[rows].to(context.device)

        train, valid = split_off(len(made["x"]), context.validation_fraction)
        data: dict[Split, Any] = {"train": pair("", train), "test": pair("_test")}
        if len(valid):
            data["valid"] = pair("", valid)
        return Supervised(data, CrossEntropy(), self.metrics)


@functools.cache
def _made() -> dict[str, np.ndarray[Any, Any]]:
    """The package's data set. The package seeds the global generators, whose states are restored."""
    import numpy as np
    from mnist1d.data import make_dataset

    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the package uses numpy's global generator
    try:
        made: dict[str, np.ndarray[Any, Any]] = make_dataset()
        return made
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
