"""Estimates batch norm's running statistics at weights that do not train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from thalweg.contracts import Batch, Draw
from thalweg.contracts.modes import estimating
from thalweg.contracts.objective import kept_buffers
from thalweg.training.assembly import Assembly


@contextmanager
def statistics_at(it: Assembly, stepped: bool) -> Iterator[int]:
    """While active, batch norm's running statistics belong to the weights that the module holds now.

    Training collects statistics at the weights that train. An optimizer that averages is evaluated at other weights,
    for which these statistics are wrong (Izmailov et al. 2018, section 3.2; Defazio et al. 2024, section 4.6). So each
    running mean and variance is replaced by the mean of the batches' statistics over one epoch of full batches. The
    epoch has an order of its own, and every layer but the norms is in evaluation mode. Norms that the module keeps in
    evaluation mode while it trains keep their statistics. Afterwards the statistics of training are restored.

    Args:
        it: what trains. Nothing is done unless the stepper averages.
        stepped: whether a step was made. Before the first step all weights are equal, and nothing is done.

    Yields:
        The number of examples that were evaluated for the statistics.

    Raises:
        ValueError: a layer keeps running statistics and is none of torch's norms.
    """
    if not it.stepper.averages or not stepped:
        yield 0
        return
    layers = [
        layer
        for layer in it.module.modules()
        if isinstance(layer, _NormBase) and layer.running_mean is not None and layer.training
    ]
    _check_others(it, layers)
    if not layers:
        yield 0
        return
    draw = Draw(it.draw.seed_for("statistics"), it.draw.batch_size)
    steps = it.problem.steps_per_epoch(it.draw.batch_size)
    with kept_buffers(it.module):
        examples = _estimate(it, layers, draw, steps)
        yield examples


@torch.no_grad()
def _estimate(it: Assembly, layers: list[_NormBase], draw: Draw, steps: int) -> int:
    modes = {part: part.training for part in it.module.modules()}
    it.module.eval()
    examples = 0
    try:
        with estimating(layers):
            for step in range(steps):
                batch = it.problem.batch("train", step, draw)
                it.problem.loss(it.module, batch)
                examples += batch.size
    finally:
        _put_back(modes)
    return examples


def _check_others(it: Assembly, layers: Sequence[_NormBase]) -> None:
    """ValueError where a forward pass in training changes buffers of layers other than these norms and torch's own."""
    own = [
        (name, part)
        for name, part in it.module.named_modules()
        if part not in layers and not type(part).__module__.startswith("torch.") and _numbers(part)
    ]
    if not own:
        return
    with kept_buffers(it.module):
        before = {name: [buffer.clone() for buffer in _numbers(part)] for name, part in own}
        _pass(it, it.problem.batch("train", 0, it.draw))
        moved = [
            f"{name or 'the network'} ({type(part).__name__})"
            for name, part in own
            if any(not torch.equal(new, old) for new, old in zip(_numbers(part), before[name], strict=True))
        ]
    if moved:
        raise ValueError(
            f"{', '.join(moved)} keeps statistics of the weights that train, and {it.trial.optimizer.name!r} is "
            "evaluated at averaged ones, where only those of torch's norms are estimated anew: use a subclass of "
            "nn.BatchNorm1d, 2d or 3d, or an optimizer that does not average"
        )


@torch.no_grad()
def _pass(it: Assembly, batch: Batch) -> None:
    with torch.random.fork_rng():
        it.problem.loss(it.module, batch)


def _numbers(part: nn.Module) -> list[Tensor]:
    """The floating-point buffers of a module itself, without its submodules'."""
    return [buffer for buffer in part.buffers(recurse=False) if buffer.is_floating_point() or buffer.is_complex()]


def _put_back(modes: dict[nn.Module, bool]) -> None:
    for part, mode in modes.items():
        part.training = mode
