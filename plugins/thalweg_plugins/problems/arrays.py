"""The user's own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.option import NO_FILE
from thalweg.contracts.problem import Split
from thalweg_plugins.problems._arrays import Arrays as Found
from thalweg_plugins.problems._arrays import find

if TYPE_CHECKING:
    from torch import Tensor


class Classes(Problem):
    """Supervised learning from NumPy files, with no plugin written: ``{ name = "arrays", file = "mine.npz" }``.

    ``file`` is an .npz with ``x_train`` and ``y_train``, and ``x_test`` and ``y_test`` where there is a test split; or
    ``inputs`` and ``targets`` are two .npy files. Examples come first: x has shape (n, ...), such as (n, features) or
    (n, channels, height, width). y holds whole numbers from 0 up, shape (n,): classes. Without a test split,
    ``test_share`` of the examples are drawn once and for all. What the files hold is part of a trial's hash, where they
    lie is not. For numbers as targets see ``arrays-regression``.
    """

    name = "arrays"
    summary = "your own NumPy arrays, from .npz or .npy files: classification"
    equation = "mean of -log softmax(z)_y"
    source = "the files that the options name"
    licence = "yours"
    normalisation = "standardize: each input less its mean over its deviation, both of the training split"
    metrics: tuple[Metric, ...] = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))
    options = (
        Option("file", NO_FILE, summary="an .npz with x_train, y_train and, where there are, x_test, y_test"),
        Option("inputs", NO_FILE, summary="an .npy with the inputs, in place of an .npz"),
        Option("targets", NO_FILE, summary="an .npy with the targets, in place of an .npz"),
        Option("test_share", 0.2, "(0, 1)", "share of the examples kept for testing where the file has no test split"),
        Option("normalisation", "standardize", ("standardize", "none"), "what is done to the inputs"),
    )
    classes = True

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """Of the arrays: their headers and the targets are read. UserError where they do not go together."""
        found = self._found(options)
        if self.classes:
            return Shape("classification", found.input, (found.classes,))
        return Shape("regression", found.input, (prod(found.output),))

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """Of the arrays; empty without files, as for a list of problems."""
        if not (options["file"] or options["inputs"]):
            return {}
        found = self._found(options)
        test = found.test or found.held_out(options["test_share"])
        return {"train": found.train - (0 if found.test else test), "test": test}

    def small(self, folder: Path) -> dict[str, Any]:
        """Thirty random examples of four numbers in three classes, or with two numbers as targets."""
        import numpy as np

        random = np.random.default_rng(0)
        y = np.arange(30) % 3 if self.classes else random.normal(size=(30, 2))
        np.savez(folder / "small.npz", x_train=random.normal(size=(30, 4)), y_train=y)
        return {"file": str(folder / "small.npz")}

    def _found(self, options: Mapping[str, Any]) -> Found:
        return find(options["file"], options["inputs"], options["targets"], self.classes)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Read, split and scale."""
        import torch

        from thalweg.contracts.losses import CrossEntropy, SquaredError
        from thalweg.contracts.supervised import Supervised, split_off

        found = self._found(options)
        arrays = found.read()
        x, y = arrays["x_train"], arrays["y_train"]
        rest, test = torch.arange(len(x)), None
        if not found.test:
            rest, test = split_off(len(x), options["test_share"], seed=1)
        train, valid = split_off(len(rest), context.validation_fraction)
        parts: dict[Split, tuple[Tensor, Tensor]] = {"train": (x[rest[train]], y[rest[train]])}
        if len(valid):
            parts["valid"] = (x[rest[valid]], y[rest[valid]])
        parts["test"] = (arrays["x_test"], arrays["y_test"]) if test is None else (x[test], y[test])
        if options["normalisation"] == "standardize":
            reference = parts["train"][0]
            mean, deviation = reference.mean(0), reference.std(0, correction=0)
            # an input that never changes stays where it is
            deviation = torch.where(deviation > 0, deviation, 1.0)
            parts = {split: ((inputs - mean) / deviation, targets) for split, (inputs, targets) in parts.items()}

        def placed(split: Split) -> tuple[Tensor, Tensor]:
            inputs, targets = parts[split]
            kind = torch.long if self.classes else context.dtype
            if not self.classes:
                targets = targets.flatten(1) if targets.dim() > 1 else targets.unsqueeze(1)
            return inputs.to(context.device, context.dtype), targets.to(context.device, kind)

        loss = CrossEntropy() if self.classes else SquaredError()
        return Supervised({split: placed(split) for split in parts}, loss, self.metrics)


class Regression(Classes):
    """As ``arrays``, with numbers as targets: y has shape (n,) or (n, outputs).

    The loss is the mean of 1/2 ||z - y||^2. Targets are taken as they are.
    """

    name = "arrays-regression"
    summary = "your own NumPy arrays, from .npz or .npy files: regression"
    equation = "mean of 1/2 ||z - y||^2"
    metrics = (Metric("loss", "lower", "log"),)
    classes = False
