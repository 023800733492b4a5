"""An overparameterised least-squares problem on which adaptive methods overfit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.contracts.problem import Split
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    from torch import Tensor


class WRS17(Problem):
    """Least squares with labels y_i = +1 or -1 and sparse features. The first feature equals the label.

    Counting from 1, example i has x_1 = y_i, x_2 = x_3 = 1, and x_j = 1 for j = 4 + 5(i - 1), ..., 4 + 5(i - 1) +
    2(1 - y_i). So an example with y = +1 has one unique feature, and an example with y = -1 has five. All other
    features are 0. Test examples continue the count, so training never sees their unique features. With ``unique =
    "literal"`` j ends at 4 + 5(i - 1) + (1 - y_i), as in lecture notes: one or three unique features. The paper's lemma
    does not hold for them. The first round(share n) of n examples in a split have y = +1. The loss is the mean of
    (w'x - y)^2. Train it with the architecture ``linear``, ``bias = false`` and ``init = "zero"``.
    """

    stacks = True
    name = "wrs17"
    summary = "overparameterised least squares on which adaptive methods overfit and gradient descent does not"
    equation = "f(w) = 1/n sum_i (w'x_i - y_i)^2"
    source = "Wilson et al. 2017, section 3.3"
    licence = "made by the formula"
    normalisation = "none: features are -1, 0 and 1"
    metrics = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))
    budget = Budget(steps=1000)
    target = Target(metric="accuracy", value=1.0)
    target_source = baseline("linear from zero")
    options = (
        Option("examples", 200, "[2, inf)", "training examples"),
        Option("test_examples", 200, "[2, inf)", "test examples"),
        Option("share", 0.6, "(0, 1)", "share of examples with the label +1"),
        Option("unique", "paper", ("paper", "literal"), "unique features for y = +1 and -1: 1 and 5, or 1 and 3"),
    )

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """3 + 5 (examples + test examples) features, one number."""
        return Shape("regression", (3 + 5 * (options["examples"] + options["test_examples"]),), (1,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of the frequent label as the answer; for the loss, of the mean label."""
        share: float = max(options["share"], 1 - options["share"])
        return {"accuracy": share, "loss": 4 * share * (1 - share)}[metric]

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """The numbers of examples that the options set."""
        return {"train": options["examples"], "test": options["test_examples"]}

    def memory(self, options: Mapping[str, Any]) -> int:
        """The bytes of the float64 matrix from which the splits are taken."""
        (features,) = self.shape(options).input
        return 8 * features * sum(self.sizes(options).values())

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Build the matrix."""
        from thalweg.contracts.supervised import Supervised, split_off
        from thalweg_plugins.problems._signs import SignSquaredError

        n = options["examples"]
        x, y = self.examples(options)
        train, valid = split_off(n, context.validation_fraction)
        rows: dict[Split, Any] = {"train": train, "valid": valid, "test": slice(n, None)}
        data = {
            split: (
                x[index].to(context.device, context.dtype),
                y[index].unsqueeze(1).to(context.device, context.dtype),
            )
            for split, index in rows.items()
            if split != "valid" or len(valid)
        }
        return Supervised(data, SignSquaredError(), self.metrics)

    @staticmethod
    def examples(options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """All training and then all test examples in float64: features (n, d) and labels (n,)."""
        import torch

        labels = []
        for n in (options["examples"], options["test_examples"]):
            positive = round(options["share"] * n)
            labels += [1] * positive + [-1] * (n - positive)
        y = torch.tensor(labels, dtype=torch.float64)
        x = torch.zeros(len(y), 3 + 5 * len(y), dtype=torch.float64)
        x[:, 0] = y
        x[:, 1:3] = 1
        factor = {"paper": 2, "literal": 1}[options["unique"]]
        for i, label in enumerate(labels):
            first = 3 + 5 * i
            x[i, first : first + factor * (1 - label) + 1] = 1
        return x, y
