"""Problems made of examples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from thalweg.contracts.losses import OutputLoss
from thalweg.contracts.precision import converted
from thalweg.contracts.problem import Batch, Draw, LoadedProblem, Metric, Split, held_out

LOSS = Metric("loss", "lower", "log")
ACCURACY = Metric("accuracy", "higher", unit="%")

CLASSIFICATION = (ACCURACY, LOSS)
"""Metrics of a classification problem: accuracy as a fraction (shown in percent) and the mean cross-entropy in nats."""


class Supervised(LoadedProblem):
    """Examples held as tensors on the device.

    Args:
        data: (inputs, targets) of each split. Inputs may be kept small (bytes): see ``prepare``.
        output_loss: the loss as a function of outputs and targets.
        metrics: "loss" and the reported metrics of ``output_loss.scores``, the primary metric first.
        chunk: examples a pass when a split is evaluated.
        prepare: turns a batch of stored inputs into what the module takes (scales bytes, say). Without random numbers.
        augment: turns a training batch of prepared inputs into another, with random numbers from the generator; not
            used in evaluation. The generator lives on the CPU, so that every device sees the same draws.

    The batches of an epoch are consecutive pieces of a fresh permutation; an incomplete last batch is dropped.
    """

    def __init__(
        self,
        data: Mapping[Split, tuple[Tensor, Tensor]],
        output_loss: OutputLoss,
        metrics: tuple[Metric, ...],
        chunk: int = 10_000,
        prepare: Callable[[Tensor], Tensor] | None = None,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        for _, targets in data.values():
            output_loss.check_targets(targets)
        self.data = data
        self.output_loss: OutputLoss = output_loss
        self.metrics = metrics
        self.sizes = {split: len(inputs) for split, (inputs, _) in data.items()}
        self.chunk = chunk
        self._prepare = prepare or _as_they_are
        self._augment = augment

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """Examples ``step`` (mod an epoch) of that epoch's permutation; the whole split when there is no batch size."""
        inputs, targets = self.data[split]
        n = size = len(inputs)
        if draw.batch_size is not None and draw.batch_size < n:
            size = draw.batch_size
            epoch, position = divmod(step, n // size)
            rows = draw.permutation(epoch, n)[position * size : (position + 1) * size]
            if inputs.device.type != "cpu":
                rows = rows.to(inputs.device, non_blocking=True)
            inputs, targets = inputs.index_select(0, rows), targets.index_select(0, rows)
        inputs = self._prepare(inputs)
        if self._augment is not None and split == "train":
            inputs = self._augment(inputs, draw.generator("augment", step))
        return Batch(inputs, targets, size)

    def without_augmentation(self) -> Supervised:
        """The same data, with training batches that are not augmented."""
        plain = copy.copy(self)
        plain._augment = None
        return plain

    def reduced(
        self, split: Split = "train", examples: int | None = None, dtype: torch.dtype | None = None
    ) -> Supervised:
        """See ``LoadedProblem.reduced``. ``prepare`` is kept, and its results are converted."""
        super().reduced(split)
        inputs, targets = self.data[split]
        if examples is not None and examples < len(inputs):
            rows = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:examples].sort().values
            inputs, targets = inputs[rows.to(inputs.device)], targets[rows.to(targets.device)]
        plain = self.without_augmentation()
        if dtype is not None:
            prepare = self._prepare
            plain._prepare = lambda x: converted(prepare(x), dtype)
            targets = converted(targets, dtype)
        plain.data = {"train": (inputs, targets)}
        plain.sizes = {"train": len(inputs)}
        return plain

    def outputs(self, module: nn.Module, batch: Batch) -> Tensor:
        """The module on the batch's inputs."""
        outputs: Tensor = module(batch.inputs)
        return outputs

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean of the output loss over the batch."""
        assert batch.targets is not None
        return self.output_loss.mean(self.outputs(module, batch), batch.targets)

    def prepared(self, inputs: Tensor) -> Tensor:
        """Stored inputs as the module takes them, without augmentation."""
        return self._prepare(inputs)

    def scores(self, outputs: Tensor, targets: Tensor, names: Sequence[str]) -> list[Tensor]:
        """The named metrics of each example, shape (N,) each."""
        found = self.output_loss.scores(outputs, targets) if set(names) != {"loss"} else {}
        return [self.output_loss.per_example(outputs, targets) if name == "loss" else found[name] for name in names]

    @torch.no_grad()
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """The loss and the scores of the output loss over the split, in chunks; inputs are not augmented."""
        inputs, targets = self.data[split]
        totals: dict[str, Tensor] = {}
        for start in range(0, len(inputs), self.chunk):
            x, y = self._prepare(inputs[start : start + self.chunk]), targets[start : start + self.chunk]
            outputs = module(x)
            if x.device.type == "mps":  # which has no float64 for the sums
                outputs, y = outputs.cpu(), y.cpu()
            sums = {name: score.double().sum() for name, score in self.output_loss.scores(outputs, y).items()}
            sums["loss"] = self.output_loss.mean(outputs, y).double() * len(x)
            totals = {name: totals.get(name, 0.0) + value for name, value in sums.items()}
        return {metric.name: totals[metric.name].item() / len(inputs) for metric in self.metrics}


def _as_they_are(inputs: Tensor) -> Tensor:
    return inputs


def split_off(n: int, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Row indices (train, valid) of n examples: ceil(fraction n) of them, drawn once and for all, are for validation.

    >>> [len(rows) for rows in split_off(1347, 0.2)]
    [1077, 270]
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    kept_apart = held_out(n, fraction)
    return order[kept_apart:].sort().values, order[:kept_apart].sort().values
