"""Evaluates K members on a split at once."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.problem import Split
from thalweg.contracts.supervised import Supervised
from thalweg.training.stacked.module import StackedModule

ROWS, IMAGES = 256, 64
"""Examples of a member that are evaluated at once, without convolutions and with them, so that activations stay in the
cache. No number of members enters, because the bits of a product may depend on its size."""


def evaluates(module: StackedModule, problem: Supervised) -> bool:
    """Whether members can be evaluated together."""
    kind = type(problem)
    own = kind.evaluate is Supervised.evaluate and kind.outputs is Supervised.outputs
    return module.program is not None and own and module.rows.device.type == "cpu"


@torch.no_grad()
def evaluate(module: StackedModule, problem: Supervised, split: Split) -> list[dict[str, float]]:
    """The metrics of each member on a split, as ``Supervised.evaluate`` gives for one, up to rounding."""
    program = module.program
    assert program is not None
    inputs, targets = problem.data[split]
    totals: dict[str, Tensor] = {}
    size = IMAGES if any(part.value.dim() > 3 for part in module.pieces.values()) else ROWS
    for start in range(0, len(inputs), size):
        x, y = problem.prepared(inputs[start : start + size]), targets[start : start + size]
        outputs = program.outputs(x.expand(module.members, *x.shape), train=False)
        for name, values in _scores(problem, outputs, y).items():
            total = values.double().sum(1)
            totals[name] = totals[name] + total if name in totals else total
    means = {metric.name: (totals[metric.name] / len(inputs)).tolist() for metric in problem.metrics}
    return [{name: values[member] for name, values in means.items()} for member in range(module.members)]


def _scores(problem: Supervised, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The loss and the scores of each example, (K, N) each."""
    k, n = outputs.shape[:2]
    loss = problem.output_loss
    if type(loss) is CrossEntropy and outputs.dim() == 3 and targets.shape == (n,):
        # the classes before the examples; see ``thalweg.training.stacked.losses``
        z = outputs.transpose(1, 2).contiguous()
        at = targets.long().expand(k, 1, n)
        largest, where = z.max(1, keepdim=True)
        right = where == at
        z.sub_(largest)
        losses = -z.gather(1, at)
        return {"accuracy": right.squeeze(1), "loss": losses.add_(z.exp_().sum(1, keepdim=True).log_()).squeeze(1)}
    flat, aims = outputs.flatten(0, 1), targets.expand(k, *targets.shape).flatten(0, 1)
    scores = loss.scores(flat, aims) | {"loss": loss.per_example(flat, aims)}
    return {name: values.view(k, n) for name, values in scores.items()}
