"""Prediction of a small text, character by character."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.contracts.problem import Split
from thalweg_plugins.problems._starting import chance
from thalweg_plugins.problems._targets import baseline

TEXT = Path(__file__).parent / "data" / "python-topics.txt"
CHARACTERS = 464_473
VOCABULARY = 94
TEST_SHARE = 0.1


class TinyText(Problem):
    """Prediction of each next character in Python's reference documentation, in pieces of ``length`` characters.

    The last tenth of the text is the test split. The validation split is drawn once and for all from the other pieces.
    Targets are the inputs shifted by one. The loss is the mean cross-entropy in nats per character. Accuracy is the
    share of characters that are predicted correctly.
    """

    stacks = True
    name = "tiny-text"
    summary = "predict 465 kB of Python's documentation, character by character"
    equation = "mean over positions of -log softmax(z_t)_{x_{t+1}}"
    source = "pydoc_data.topics of Python 3.11.7, kept with this package"
    licence = "PSF licence version 2"
    normalisation = "characters numbered in the order of their codes"
    metrics = (Metric("loss", "lower", "log"), Metric("accuracy", "higher", unit="%"))
    budget = Budget(epochs=3)
    target = Target(metric="loss", value=2.47)
    target_source = baseline("char-transformer")
    options = (
        Option("length", 64, "[2, 1024]", "characters in each piece of text"),
        Option("characters", CHARACTERS, f"[20000, {CHARACTERS}]", "how much of the text, from its start"),
    )

    def small(self, folder: Path) -> dict[str, Any]:
        """The first 20,000 characters."""
        return {"characters": 20_000}

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """Pieces in; at each position a logit for each of 94 characters out."""
        length = options["length"]
        return Shape("language", (length,), (length, VOCABULARY))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of chance among the 94 characters."""
        return chance([1 / VOCABULARY] * VOCABULARY, metric)

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """The numbers of whole pieces in the two parts of the text."""
        test = round(TEST_SHARE * options["characters"])
        train = options["characters"] - test
        return {"train": (train - 1) // options["length"], "test": (test - 1) // options["length"]}

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Number the characters and cut."""
        import numpy as np
        import torch

        from thalweg.contracts.losses import CrossEntropy
        from thalweg.contracts.supervised import Supervised, split_off

        _, tokens = np.unique(np.frombuffer(TEXT.read_bytes(), dtype=np.uint8), return_inverse=True)
        text = torch.from_numpy(tokens).long()[: options["characters"]]
        test = round(TEST_SHARE * len(text))

        def pieces(part: torch.Tensor, rows: Any = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
            length = options["length"]
            n = (len(part) - 1) // length * length
            inputs, targets = part[:n].view(-1, length), part[1 : n + 1].view(-1, length)
            return inputs[rows].to(context.device), targets[rows].to(context.device)

        sizes = self.sizes(options)
        train, valid = split_off(sizes["train"], context.validation_fraction)
        data: dict[Split, Any] = {"train": pieces(text[:-test], train), "test": pieces(text[-test:])}
        if len(valid):
            data["valid"] = pieces(text[:-test], valid)
        return Supervised(data, CrossEntropy(), self.metrics, chunk=512)
