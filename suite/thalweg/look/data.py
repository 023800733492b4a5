"""Turns what a notebook has, a loss and data, into a problem in which all examples count alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts.problem import LoadedProblem
from thalweg.contracts.supervised import ACCURACY, Supervised
from thalweg.look.batches import LOSS, Batches, Value, each, tensors
from thalweg.look.losses import NAMES, module_of, output_loss, takes_labels

AT_ONCE = 1024
"""Examples of a dataset that are read at once, and that show what a loss gives."""

_FEW = 8


def problem_of(module: nn.Module, loss: Any, data: Any, forward: Callable[..., Any] | None) -> LoadedProblem:
    """The problem of a loss on data.

    Args:
        module: the network, a copy that may be called, in evaluation mode.
        loss: a torch loss, a function of ``torch.nn.functional`` or a name, of outputs and targets; or a function
            ``(module, batch) -> losses`` of shape (N,). None with ``forward``.
        data: a pair of tensors, a dataset, a loader, or any iterable of batches.
        forward: a function ``(module, batch)`` that gives the losses (N,), their mean, or a pair (mean, weight).

    Raises:
        ValueError: loss and data do not go together, or hold no examples.
    """
    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    if data is None:
        raise ValueError("data: give a pair of tensors, a dataset, a DataLoader or batches")
    if forward is not None and loss is not None:
        raise ValueError("give loss or forward, and not both: forward gives the loss itself")
    whole, value = None if forward is not None else module_of(loss), forward
    if whole is None and value is None:
        value = _function(loss)
    batches = [_moved(batch, device) for batch in _batches(data)]
    if not batches:
        raise ValueError("data: it has no batches; an iterator gives its batches once, so make it anew")
    if whole is None:
        assert value is not None
        return Batches(batches, value)
    return _supervised(module, whole, batches)


def _function(loss: Any) -> Value:
    if loss is None:
        raise ValueError(f"loss: give a torch loss, one of {', '.join(NAMES)}, or forward=")
    if not callable(loss):
        raise ValueError(f"loss: {type(loss).__name__} is no torch loss, no name and no function (module, batch)")
    try:
        inspect.signature(loss).bind(None, None)
    except (TypeError, ValueError) as error:
        raise ValueError(f"loss: a function is called with module and batch, and gives losses (N,): {error}") from error
    return loss  # type: ignore[no-any-return]


def _batches(data: Any) -> Iterable[Any]:
    """The batches of the data, as they come."""
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(one, Tensor) for one in data):
        return [tuple(data)]
    if isinstance(data, Tensor):
        raise ValueError("data: one tensor has no targets: give a pair (inputs, targets)")
    if isinstance(data, torch.utils.data.Dataset) and not isinstance(data, torch.utils.data.IterableDataset):
        return torch.utils.data.DataLoader(data, batch_size=AT_ONCE)
    if not isinstance(data, Iterable):
        kinds = "a pair of tensors, a dataset, a DataLoader or batches"
        raise ValueError(f"data: {type(data).__name__} is none of {kinds}")
    return _read(data)


def _read(data: Iterable[Any]) -> list[Any]:
    """The batches of an iterable. A generator of random numbers that a loader has of its own is put back."""
    holders = [data, *(getattr(data, name, None) for name in ("sampler", "batch_sampler", "dataset"))]
    holders += [getattr(holder, "sampler", None) for holder in holders]
    generators = {
        id(one): one for holder in holders if isinstance(one := getattr(holder, "generator", None), torch.Generator)
    }
    states = [(one, one.get_state()) for one in generators.values()]
    try:
        return list(data)
    finally:
        for one, state in states:
            one.set_state(state)


def _moved(batch: Any, device: torch.device) -> Any:
    """A batch on the module's device. A batch of another kind moves itself, where it can."""
    if not isinstance(batch, Tensor | tuple | list | dict) and callable(getattr(batch, "to", None)):
        return batch.to(device)
    return each(batch, lambda tensor: tensor.to(device))


def _supervised(module: nn.Module, loss: nn.Module, batches: Sequence[Any]) -> LoadedProblem:
    """All examples as one tensor of inputs and one of targets; as batches where their shapes differ."""
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not all(isinstance(one, Tensor) for one in batch):
            held = ", ".join(str(tuple(tensor.shape)) for tensor in tensors(batch)) or "no tensors"
            raise ValueError(
                f"data: a batch is no pair of tensors (inputs, targets), but {type(batch).__name__} of {held}: "
                "forward= makes a loss of module and batch"
            )
        if batch[0].dim() == 0 or batch[1].dim() == 0 or len(batch[0]) != len(batch[1]):
            shapes = f"{tuple(batch[0].shape)} and {tuple(batch[1].shape)}"
            raise ValueError(f"data: inputs and targets have shapes {shapes}: examples come first in both")
    inputs, targets = ([batch[place] for batch in batches] for place in (0, 1))
    if takes_labels(loss):
        targets = [one if one.is_floating_point() else one.long() for one in targets]
        batches = list(zip(inputs, targets, strict=True))
    if not sum(map(len, inputs)):
        raise ValueError("data: it has no examples")
    few = next((x, y) for x, y in batches if len(x))
    with torch.no_grad():
        outputs = module(few[0][:_FEW])
    ragged = len({(one.shape[1:], one.dtype) for one in inputs}) > 1 or len({one.shape[1:] for one in targets}) > 1
    if ragged:
        made = output_loss(loss, outputs, targets)
        return Batches([batch for batch in batches if len(batch[0])], _of_pair(made.per_example))
    every = torch.cat(targets) if len(targets) > 1 else targets[0]
    x = torch.cat(inputs) if len(inputs) > 1 else inputs[0]
    found = output_loss(loss, outputs, [every])
    metrics = (LOSS, ACCURACY) if "accuracy" in found.scores(outputs, few[1][:_FEW]) else (LOSS,)
    return Supervised({"train": (x, every)}, found, metrics)


def _of_pair(per_example: Callable[[Tensor, Tensor], Tensor]) -> Value:
    return lambda module, batch: per_example(module(batch[0]), batch[1])
