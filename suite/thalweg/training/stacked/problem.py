"""A supervised problem as K members see it at once: batches in each one's order, and the sum of their losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thalweg.contracts import Batch, Draw, LoadedProblem
from thalweg.contracts.problem import Split
from thalweg.contracts.supervised import Supervised


def misfit(problem: LoadedProblem) -> str | None:
    """Why members cannot share this problem, or None: it must be supervised, with a loss as such have."""
    kind = type(problem)
    if not isinstance(problem, Supervised):
        return "the problem has no examples held as tensors"
    if kind.loss is not Supervised.loss or kind.outputs is not Supervised.outputs:
        return "the problem has a loss of its own"
    if kind.project is not LoadedProblem.project:
        return "the problem keeps the weights in a domain"
    return "the problem is online" if problem.online else None


class StackedProblem(LoadedProblem):
    """The training split for K members, each with its own order of the examples.

    Args:
        problem: what all of them train on.
        draws: one a member.
    """

    def __init__(self, problem: Supervised, draws: Sequence[Draw]) -> None:
        self.problem = problem
        self.draws = list(draws)
        self.metrics, self.sizes = problem.metrics, problem.sizes
        self.losses: Tensor | None = None
        """The members' mean losses (K,) at the last evaluation."""
        self._n = problem.sizes["train"]
        self._size = min(draws[0].batch_size or self._n, self._n)
        self._gathers = type(problem).batch is Supervised.batch and problem._augment is None
        self._rows: tuple[int, Tensor] | None = None

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """As for one, but inputs and targets have the K members in front; ``draw`` is not looked at."""
        k, (inputs, targets) = len(self.draws), self.problem.data["train"]
        if not self._gathers:
            batches = [self.problem.batch("train", step, own) for own in self.draws]
            return Batch(_stack([b.inputs for b in batches]), _stack([b.targets for b in batches]), batches[0].size)
        if self._size == self._n:
            inputs = self.problem.prepared(inputs)
            return Batch(inputs.expand(k, *inputs.shape), targets.expand(k, *targets.shape), self._n)
        epoch, position = divmod(step, self._n // self._size)
        if self._rows is None or self._rows[0] != epoch:
            self._rows = epoch, self._order(epoch).to(inputs.device)
        rows = self._rows[1][position]
        inputs = self.problem.prepared(inputs.index_select(0, rows))
        targets = targets.index_select(0, rows)
        size = self._size
        return Batch(inputs.view(k, size, *inputs.shape[1:]), targets.view(k, size, *targets.shape[1:]), size)

    def _order(self, epoch: int) -> Tensor:
        """The rows of each step of an epoch, all members' one after the other: (steps, K size)."""
        steps = self._n // self._size
        orders = [draw.permutation(epoch, self._n)[: steps * self._size].view(steps, -1) for draw in self.draws]
        return torch.cat(orders, 1)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The sum of the members' mean losses, so that its gradient is the stack of theirs."""
        assert batch.targets is not None
        outputs: Tensor = module(batch.inputs)
        each = self.problem.output_loss.per_example(outputs.flatten(0, 1), batch.targets.flatten(0, 1))
        losses = each.view(len(self.draws), -1).mean(1)
        self.losses = losses.detach()
        return losses.sum()

    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """Members are evaluated one by one, as they are when alone."""
        raise NotImplementedError("a stack is evaluated member by member")


def _stack(tensors: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([tensor for tensor in tensors if tensor is not None])
