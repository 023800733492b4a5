"""Means of metrics over examples, computed from the outputs at several points together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.contracts.supervised import Supervised

SCORED = 2**18
"""Bytes of outputs whose metrics are computed together, which fit into a CPU's cache."""


class Scorer:
    """The means of some metrics over a chunk of examples.

    Args:
        data: the problem.
        targets: the targets of the N examples.
        names: the names of the M metrics.
    """

    def __init__(self, data: Supervised, targets: Tensor, names: list[str]) -> None:
        self._data, self._targets, self._names = data, targets, names
        self._loss_alone = names == ["loss"] and type(data).scores is Supervised.scores
        self._checked = False
        self._room: Tensor | None = None

    def of_one(self, outputs: Any) -> Tensor:
        """The means at one point, shape (M, 1), as the problem computes them."""
        scores = self._data.scores(outputs, self._targets, self._names)
        return torch.stack([score.view(1, -1).mean(1, dtype=torch.float64) for score in scores])

    def of_each(self, outputs: Tensor) -> Tensor:
        """The means at K points, shape (M, K), for outputs (K, N, ...)."""
        k = len(outputs)
        if self._loss_alone:
            scores = [self._data.output_loss.per_example_of_each(outputs, self._targets)]
        else:
            targets = self._targets.repeat(k, *[1] * (self._targets.dim() - 1))
            scores = self._data.scores(outputs.flatten(0, 1), targets, self._names)
        return torch.stack([score.view(k, -1).mean(1, dtype=torch.float64) for score in scores])

    def pile(self, outputs: Any, points: int) -> Tensor | None:
        """Room for the outputs (N, ...) at up to ``points`` points, for ``of_each``; None where ``of_one`` is needed.

        That is where the metrics of several outputs together are not the metrics of each.
        """
        if self._room is None and not self._checked:
            self._checked = True
            if isinstance(outputs, Tensor) and self._agrees(outputs):
                self._room = self._made(outputs)
        return None if self._room is None else self._room[:points]

    def _agrees(self, outputs: Tensor) -> bool:
        """Whether ``of_each`` gives what ``of_one`` gives."""
        expected = self.of_one(outputs)
        try:
            found = self.of_each(outputs[None])
        except Exception:  # a metric of a stranger may fail in any way on more examples than there are
            return False
        return alike(found, expected, 1e-4 if outputs.dtype == torch.float32 else 1e-9)

    def _made(self, outputs: Tensor) -> Tensor:
        """Room for as many outputs as are scored together, in their order in memory."""
        points = max(SCORED // max(outputs.numel() * outputs.element_size(), 1), 1)
        if outputs.dim() == 2 and outputs.stride(0) == 1:
            return outputs.new_empty((points, *outputs.T.shape)).transpose(1, 2)
        return outputs.new_empty((points, *outputs.shape))


def alike(found: Tensor, expected: Tensor, close: float) -> bool:
    """Whether numbers differ by at most ``close`` of the expected ones and of the largest of these."""
    a, b = found.detach().cpu().numpy(), expected.detach().cpu().numpy()
    if a.shape != b.shape:
        return False
    finite = np.abs(b[np.isfinite(b)])
    return bool(np.allclose(a, b, rtol=close, atol=close * float(finite.max(initial=0)), equal_nan=True))
