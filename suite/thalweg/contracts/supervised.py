"""Problems made of examples, and problems that are functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg.contracts.losses import CrossEntropy, OutputLoss
from thalweg.contracts.problem import Batch, Draw, LoadedProblem, Metric, Split

LOSS = Metric("loss", "lower", "log")
ACCURACY = Metric("accuracy", "higher", unit="%")

CLASSIFICATION = (ACCURACY, LOSS)
"""Metrics of a classification problem: accuracy as a fraction (shown in percent) and the mean cross-entropy in nats."""


class Supervised(LoadedProblem):
    """Examples held as tensors on the device.

    ``data`` maps a split to (inputs, targets). The batches of an epoch are consecutive pieces of a fresh permutation;
    an incomplete last batch is dropped.
    """

    def __init__(
        self,
        data: dict[Split, tuple[Tensor, Tensor]],
        output_loss: OutputLoss,
        metrics: tuple[Metric, ...],
        chunk: int = 10_000,
    ) -> None:
        self.data = data
        self.output_loss: OutputLoss = output_loss
        self.metrics = metrics
        self.sizes = {split: len(inputs) for split, (inputs, _) in data.items()}
        self._chunk = chunk

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """Examples ``step`` (mod an epoch) of that epoch's permutation; the whole split when there is no batch size."""
        inputs, targets = self.data[split]
        n = len(inputs)
        if draw.batch_size is None or draw.batch_size >= n:
            return Batch(inputs, targets, n)
        epoch, position = divmod(step, n // draw.batch_size)
        rows = draw.permutation(epoch, n)[position * draw.batch_size : (position + 1) * draw.batch_size]
        rows = rows.to(inputs.device, non_blocking=True)
        return Batch(inputs[rows], targets[rows], draw.batch_size)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean of the output loss over the batch."""
        assert batch.targets is not None
        return self.output_loss.mean(module(batch.inputs), batch.targets)

    @torch.no_grad()
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """Loss, and accuracy for classification, over the split in chunks."""
        inputs, targets = self.data[split]
        loss = torch.zeros((), dtype=torch.float64, device=inputs.device)
        correct = torch.zeros((), dtype=torch.int64, device=inputs.device)
        for start in range(0, len(inputs), self._chunk):
            x, y = inputs[start : start + self._chunk], targets[start : start + self._chunk]
            outputs = module(x)
            loss += self.output_loss.mean(outputs, y).double() * len(x)
            if isinstance(self.output_loss, CrossEntropy):
                correct += (outputs.argmax(-1) == y).sum()
        values = {"loss": loss.item() / len(inputs)}
        if isinstance(self.output_loss, CrossEntropy):
            values["accuracy"] = correct.item() / len(inputs)
        return {metric.name: values[metric.name] for metric in self.metrics}


def split_off(n: int, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Row indices (train, valid) of n examples: ceil(fraction n) of them, drawn once and for all, are for validation.

    >>> [len(rows) for rows in split_off(1347, 0.2)]
    [1077, 270]
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    held_out = math.ceil(round(fraction * n, 9))
    return order[held_out:].sort().values, order[:held_out].sort().values


class AnalyticFunction(LoadedProblem):
    """A function f of the vector that the architecture ``point`` holds: no data, one split, known answers.

    ``start`` draws the starting point from a generator.
    """

    def __init__(
        self, f: Callable[[Tensor], Tensor], start: Callable[[torch.Generator], Tensor], metric: Metric = LOSS
    ) -> None:
        self.f = f
        self.start = start
        self.metrics = (metric,)
        self.sizes = {"train": 1}

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """There is one batch, and it is empty."""
        return Batch(None, None, 1)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """f at the module's point."""
        return self.f(module())

    @torch.no_grad()
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """f at the module's point."""
        return {"loss": float(self.f(module()))}

    @torch.no_grad()
    def initialize(self, module: nn.Module, draw: Draw) -> None:
        """Put the point at its start."""
        (point,) = module.parameters()
        point.copy_(self.start(draw.generator("start")))
