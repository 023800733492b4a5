"""Batch norm's running statistics at weights that do not train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from thalweg.contracts import Draw
from thalweg.contracts.objective import kept_buffers
from thalweg.training.assembly import Assembly


@contextmanager
def statistics_at(it: Assembly, stepped: bool) -> Iterator[int]:
    """While active, running statistics are those of training batches at the weights that the module holds.

    Training keeps statistics at the weights that train. An optimizer that averages is evaluated at other weights,
    where these statistics are wrong (Izmailov et al. 2018, section 3.2; Defazio et al. 2024, section 4.6). So each mean
    and variance is replaced by its mean over the full batches of one epoch in an order of its own, with every layer but
    the norms in evaluation mode. Afterwards the module has its own statistics again.

    Args:
        it: what trains. Nothing is done unless its stepper averages.
        stepped: whether a step was made: before the first one all weights are the same.

    Yields:
        How many examples that took.
    """
    layers = [layer for layer in it.module.modules() if isinstance(layer, _NormBase) and layer.running_mean is not None]
    if not it.stepper.averages or not stepped or not layers:
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
    momenta = [layer.momentum for layer in layers]
    it.module.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over batches
        layer.train()
    examples = 0
    try:
        for step in range(steps):
            batch = it.problem.batch("train", step, draw)
            it.problem.loss(it.module, batch)
            examples += batch.size
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        _put_back(modes)
    return examples


def _put_back(modes: dict[nn.Module, bool]) -> None:
    for part, mode in modes.items():
        part.training = mode
