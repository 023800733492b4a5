"""A supervised problem for K members at once: each member has its own order of batches, and the losses are summed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thalweg.contracts import Batch, Draw, LoadedProblem
from thalweg.contracts.problem import Split
from thalweg.contracts.supervised import Supervised


def misfit(problem: LoadedProblem) -> str | None:
    """Why members cannot share a problem; None where they can. The problem must be supervised."""
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
        problem: the problem that all members train on.
        draws: the draw of each member.
    """

    def __init__(self, problem: Supervised, draws: Sequence[Draw]) -> None:
        self.problem = problem
        self.draws = list(draws)
        self.metrics, self.sizes, self.output_loss = problem.metrics, problem.sizes, problem.output_loss
        self.losses: Tensor | None = None
        """The members' mean losses (K,) at the last evaluation."""
        self._n = problem.sizes["train"]
        self._size = min(draws[0].batch_size or self._n, self._n)
        self._gathers = type(problem).batch is Supervised.batch and problem._augment is None
        self._rows: tuple[int, Tensor] | None = None

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """The batches of the K members: inputs and targets have the members in front. ``draw`` is ignored."""
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
        """The examples of each step of an epoch, for all members in turn: indices (steps, K size)."""
        steps = self._n // self._size
        orders = [draw.permutation(epoch, self._n)[: steps * self._size].view(steps, -1) for draw in self.draws]
        return torch.cat(orders, 1)

    def member_losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Each member's mean loss (K,), from outputs (K, N, ...)."""
        assert batch.targets is not None
        each = self.problem.output_loss.per_example(outputs.flatten(0, 1), batch.targets.flatten(0, 1))
        return each.view(len(self.draws), -1).mean(1)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The sum of the members' mean losses: its gradient is the stack of the members' gradients."""
        losses = self.member_losses(module(batch.inputs), batch)
        self.losses = losses.detach()
        return losses.sum()

    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """NotImplementedError: each member is evaluated in a module of its own."""
        raise NotImplementedError("a stack is evaluated member by member")


def _stack(tensors: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([tensor for tensor in tensors if tensor is not None])
