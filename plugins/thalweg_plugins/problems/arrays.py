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
from thalweg.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg_plugins.problems._arrays import Arrays


class Classes(Problem):
    """Supervised learning from NumPy files, with no plugin written: ``{ name = "arrays", file = "mine.npz" }``.

    ``file`` is an .npz with ``x_train`` and ``y_train``, and ``x_test`` and ``y_test`` where there is a test split; or
    ``inputs`` and ``targets`` are two .npy files. Examples come first: x has shape (n, ...), such as (n, features) or
    (n, channels, height, width). y holds whole numbers from 0 up, shape (n,): classes. Without a test split,
    ``test_share`` of the examples are drawn once and for all. What the files hold is part of a trial's hash, where they
    lie is not. For numbers as targets see ``arrays-regression``.
    """

    stacks = True
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
        if found.test and options["test_share"] != 0.2:
            raise UserError("test_share does not count: the file has a test split")
        if self.classes:
            return Shape("classification", found.input, (found.classes,))
        return Shape("regression", found.input, (prod(found.output),))

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """Of the arrays; empty without files, as for a list of problems."""
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
        """Thirty random examples of four numbers in three classes, or with two numbers as targets."""
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
    """As ``arrays``, with numbers as targets: y has shape (n,) or (n, outputs).

    The loss is the mean of 1/2 ||z - y||^2. Targets are taken as they are.
    """

    name = "arrays-regression"
    summary = "your own NumPy arrays, from .npz or .npy files: regression"
    equation = "mean of 1/2 ||z - y||^2"
    metrics = (Metric("loss", "lower", "log"),)
    classes = False
