"""Means of metrics over examples, computed from the outputs at several points together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.contracts.supervised import Supervised

SCORED = 2**20
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
        self._at_once = 0
        self._pile: Tensor | None = None

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
        """Room for the outputs (N, ...) at up to ``points`` points; None where these are scored one by one.

        They are scored one by one where the outputs are large, or where the metrics of several outputs are no longer
        the metrics of each.
        """
        if self._at_once == 0:
            self._at_once = self._most(outputs)
        if self._at_once == 1:
            return None
        if self._pile is None:
            by_class = outputs.dim() == 2 and outputs.stride(0) == 1
            like = outputs.T if by_class else outputs
            room = like.new_empty((self._at_once, *like.shape))
            self._pile = room.transpose(1, 2) if by_class else room
        return self._pile[:points]

    def _most(self, outputs: Any) -> int:
        """The number of points that are scored together."""
        expected = self.of_one(outputs)
        if not isinstance(outputs, Tensor) or outputs.dim() == 0:
            return 1
        try:
            found = self.of_each(outputs[None])
        except Exception:  # a metric of a stranger may fail in any way on more examples than there are
            return 1
        close = 1e-4 if outputs.dtype == torch.float32 else 1e-9
        if found.shape != expected.shape or not torch.allclose(found, expected, rtol=close, equal_nan=True):
            return 1
        return max(SCORED // max(outputs.numel() * outputs.element_size(), 1), 1)
