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
        self._checked = self._apart = False
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

    def pile(self, outputs: Tensor, points: int) -> Tensor:
        """Room for the outputs (N, ...) at up to ``points`` points, for ``of_pile``."""
        if self._room is None:
            self._room = self._made(outputs)
        return self._room[:points]

    def of_pile(self, pile: Tensor) -> Tensor:
        """The means at K points, shape (M, K), for outputs (K, N, ...).

        The first pile is compared with what the problem computes for its first and its last point. Where they differ,
        or where a metric fails on more examples than there are, each point is computed alone.
        """
        if self._apart:
            return torch.cat([self.of_one(outputs) for outputs in pile], 1)
        if self._checked:
            return self.of_each(pile)
        self._checked = True
        expected = torch.cat([self.of_one(pile[0]), self.of_one(pile[-1])], 1)
        try:
            found = self.of_each(pile)
            close = 1e-4 if pile.dtype == torch.float32 else 1e-9
            self._apart = not alike(found[:, [0, -1]], expected, close)
        except Exception:  # a stranger's metric may fail in any way
            self._apart = True
        return self.of_pile(pile) if self._apart else found

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
