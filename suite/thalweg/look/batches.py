"""Data that is a list of batches of any kind, with a loss of module and batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts.precision import converted
from thalweg.contracts.problem import Batch, Draw, LoadedProblem, Metric, Split
from thalweg.contracts.untouched import tensors_in

Value = Callable[[nn.Module, Any], Any]
"""Makes of module and batch the losses (N,), their mean, or a pair (mean, weight)."""

LOSS = Metric("loss", "lower", "log")


@dataclass
class Parts(Batch):
    """Several batches as they were given."""

    parts: list[Any] = field(default_factory=list)


class Batches(LoadedProblem):
    """Batches of any kind, each weighted by its examples, or by the weight that the loss gives with its mean.

    Args:
        batches: the batches.
        value: the loss of module and batch.
    """

    metrics = (LOSS,)

    def __init__(self, batches: Sequence[Any], value: Value) -> None:
        self.batches = list(batches)
        self.value = value
        self.counts = [count(batch) for batch in self.batches]
        self.sizes = {"train": sum(self.counts)}

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """All batches, or, where the draw has a batch size, the batch of a step."""
        if draw.batch_size is None:
            return Parts(None, None, self.sizes["train"], self.batches)
        number = step % len(self.batches)
        return Parts(None, None, self.counts[number], [self.batches[number]])

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean over the examples of all parts."""
        assert isinstance(batch, Parts)
        found = [self._sum(module, part) for part in batch.parts]
        total: Tensor = sum(loss for loss, _ in found) / sum(weight for _, weight in found)
        return total

    def _sum(self, module: nn.Module, part: Any) -> tuple[Tensor, Any]:
        """The sum of a batch's losses, and what it is to be divided by."""
        found, n = self.value(module, part), count(part)
        if isinstance(found, tuple) and len(found) == 2:
            mean, weight = found
            return mean * weight, weight
        if not isinstance(found, Tensor) or found.dim() > 1 or (found.dim() == 1 and len(found) != n):
            shape = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"the loss of module and batch gives {shape} for a batch of {n} examples: it must give their losses, "
                f"of shape ({n},), their mean, or a pair (mean, weight)"
            )
        return (found.sum(), n) if found.dim() else (found * n, n)

    @torch.no_grad()
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """The loss over all batches."""
        found = [self._sum(module, part) for part in self.batches]
        weight = sum(float(weight) for _, weight in found)
        return {"loss": sum(float(loss.double()) for loss, _ in found) / weight}

    def reduced(
        self, split: Split = "train", examples: int | None = None, dtype: torch.dtype | None = None
    ) -> LoadedProblem:
        """Some of the batches: in a drawn order, the same each time, so many that they hold ``examples`` or more."""
        super().reduced(split, examples, dtype)
        chosen = self.batches
        if examples is not None and examples < self.sizes["train"]:
            order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0)).tolist()
            kept, held = [], 0
            for number in order:
                if held >= examples:
                    break
                kept.append(number)
                held += self.counts[number]
            chosen = [self.batches[number] for number in sorted(kept)]
        made = copy.copy(self)
        made.batches = chosen if dtype is None else [each(part, _to(dtype)) for part in chosen]
        made.counts = [count(batch) for batch in made.batches]
        made.sizes = {"train": sum(made.counts)}
        return made


def count(batch: Any) -> int:
    """The examples of a batch: the first dimension of the first tensor in it.

    Raises:
        ValueError: the batch holds no tensor.
    """
    first = next((tensor for tensor in tensors(batch) if tensor.dim()), None)
    if first is None:
        raise ValueError(f"data: a batch of type {type(batch).__name__} holds no tensor, so its examples are not known")
    return len(first)


def tensors(batch: Any) -> Iterator[Tensor]:
    """All tensors of a batch, in their order; those in the attributes of an object of another kind."""
    known = isinstance(batch, Tensor | Mapping | tuple | list)
    return tensors_in(batch if known else getattr(batch, "__dict__", None))


def each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same tuples, lists and tables with every tensor changed. Other objects must change themselves."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        changed = [each(one, change) for one in value]
        return type(value)(*changed) if hasattr(value, "_fields") else tuple(changed)
    if isinstance(value, list):
        return [each(one, change) for one in value]
    if isinstance(value, Mapping):
        made = {key: each(one, change) for key, one in value.items()}
        if type(value) is dict:
            return made
        other: Any = copy.copy(value)
        other.update(made)
        return other
    return value


def _to(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda tensor: converted(tensor, dtype)
