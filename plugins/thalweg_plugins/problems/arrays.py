"""Problems whose data is the user's own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.option import NO_FILE
from thalweg.contracts.problem import Split
from thalweg.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg_plugins.problems._arrays import Arrays


class Classes(Problem):
    """Classification of the user's NumPy arrays, without a plugin: ``{ name = "arrays", file = "mine.npz" }``.

    ``file`` is an .npz with ``x_train`` and ``y_train`` and, for a test split of your own, ``x_test`` and ``y_test``.
    Instead of ``file``, ``inputs`` and ``targets`` may name two .npy files. The first dimension counts examples: x has
    shape (n, ...), such as (n, features) or (n, channels, height, width), and y has shape (n,). The values of y are
    classes 0, 1, 2 and so on. Without a test split, a share ``test_share`` of the examples is drawn once and for all
    for testing. A trial's hash depends on the content of the files, not on their place. For regression see
    ``arrays-regression``.
    """

    stacks = True
    name = "arrays"
    summary = "your own NumPy arrays, from .npz or .npy files: classification"
    equation = "mean of -log softmax(z)_y"
    source = "the files that the options name"
    licence = "yours"
    normalisation = "standardize: (input - mean) / deviation for each input, both over the training split"
    metrics: tuple[Metric, ...] = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))
    options = (
        Option("file", NO_FILE, summary="an .npz with x_train, y_train and, for a test split, x_test, y_test"),
        Option("inputs", NO_FILE, summary="an .npy with the inputs, in place of an .npz"),
        Option("targets", NO_FILE, summary="an .npy with the targets, in place of an .npz"),
        Option("test_share", 0.2, "(0, 1)", "share of the examples to test on, where the file has no test split"),
        Option("normalisation", "standardize", ("standardize", "none"), "how the inputs are scaled"),
    )
    classes = True

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """The shapes of the arrays, which are read and checked; UserError where they do not fit each other."""
        found = self._found(options)
        if found.test and options["test_share"] != 0.2:
            raise UserError("test_share has no effect, since the file has a test split: leave it out")
        if self.classes:
            return Shape("classification", found.input, (found.classes,))
        return Shape("regression", found.input, (prod(found.output),))

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """The numbers of examples; empty where no file is named, as when problems are listed."""
        if not (options["file"] or options["inputs"]):
            return {}
        found = self._found(options)
        test = found.test or found.held_out(options["test_share"])
        train = found.train - (0 if found.test else test)
        if train < 1:
            share = options["test_share"]
            raise UserError(f"test_share = {share:g} of {found.train} examples leaves none to train on")
        return {"train": train, "test": test}

    def small(self, folder: Path) -> dict[str, Any]:
        """Thirty random examples of four numbers, each with one of three classes or with two numbers as target."""
        import numpy as np

        random = np.random.default_rng(0)
        y = np.arange(30) % 3 if self.classes else random.normal(size=(30, 2))
        np.savez(folder / "small.npz", x_train=random.normal(size=(30, 4)), y_train=y)
        return {"file": str(folder / "small.npz")}

    def _found(self, options: Mapping[str, Any]) -> Arrays:
        from thalweg_plugins.problems._arrays import find

        return find(options["file"], options["inputs"], options["targets"], self.classes)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Read, split and scale."""
        import torch

        from thalweg.contracts.losses import CrossEntropy, SquaredError
        from thalweg.contracts.supervised import Supervised, split_off
        from thalweg_plugins.problems._arrays import check_fits, moments, taken

        found = self._found(options)
        arrays = found.read()
        rest, test = torch.arange(found.train), None
        if not found.test:
            rest, test = split_off(found.train, options["test_share"], seed=1)
        train, valid = split_off(len(rest), context.validation_fraction)
        rows: dict[Split, tuple[str, Tensor]] = {"train": ("train", rest[train])}
        if len(valid):
            rows["valid"] = ("train", rest[valid])
        rows["test"] = ("test", torch.arange(found.test)) if test is None else ("train", test)
        scale = None
        if options["normalisation"] == "standardize":
            scale = moments(arrays["x_train"], rows["train"][1].numpy())
        data = {}
        for split, (part, index) in rows.items():
            inputs = taken(arrays[f"x_{part}"], index.numpy(), context.dtype, scale)
            targets = taken(arrays[f"y_{part}"], index.numpy(), torch.long if self.classes else context.dtype)
            check_fits(arrays[f"x_{part}"], inputs, f"x_{part}")
            if not self.classes:
                check_fits(arrays[f"y_{part}"], targets, f"y_{part}", varying=True)
                targets = targets.view(len(index), -1)
            data[split] = (inputs.to(context.device), targets.to(context.device))
        return Supervised(data, CrossEntropy() if self.classes else SquaredError(), self.metrics)


class Regression(Classes):
    """Regression on the user's NumPy arrays: like ``arrays``, but y holds numbers, of shape (n,) or (n, outputs).

    The loss is the mean of 1/2 ||z - y||^2. Targets are not scaled.
    """

    name = "arrays-regression"
    summary = "your own NumPy arrays, from .npz or .npy files: regression"
    equation = "mean of 1/2 ||z - y||^2"
    metrics = (Metric("loss", "lower", "log"),)
    classes = False
