"""The objective of K members at once: the sum of their losses, whose gradient is the stack of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import torch
from torch import Tensor

from thalweg.contracts.objective import Counts, squared_norm
from thalweg.contracts.problem import Batch, Draw
from thalweg.contracts.stacked import JointObjective, Weight
from thalweg.training.stacked.losses import losses_and_gradient
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.parts import Parts
from thalweg.training.stacked.problem import StackedProblem


class StackedObjective(JointObjective):
    """Evaluates losses and gradients of K members, as a program without autograd where the network has one.

    Args:
        module: the K members.
        problem: their batches.
        draw: a member's randomness; its batch size is everyone's.
        l2: coefficient of a penalty l2/2 ||w||^2 in each member's loss.
        penalized: the names of the trained parameters w of the penalty.
        new_gradients: whether each gradient is a new tensor, because an optimizer may keep it.
    """

    module: StackedModule
    problem: StackedProblem

    def __init__(
        self,
        module: StackedModule,
        problem: StackedProblem,
        draw: Draw,
        l2: float = 0.0,
        penalized: Sequence[str] = (),
        new_gradients: bool = False,
    ) -> None:
        super().__init__(module, problem, draw)
        self._coefficient = l2
        self._new_gradients = new_gradients
        self._names = [name for name in penalized if l2]
        self._parts = Parts(module)
        self.trains = [True] * module.members
        self.errors: dict[int, Exception] = {}
        self.own_counts = [Counts() for _ in range(module.members)]
        """What was counted of one member alone, beside what ``counts`` holds for every member."""

    def begin_step(self, batch: Batch, step: int) -> None:
        """Fix the batch. No member has raised an error yet."""
        super().begin_step(batch, step)
        self.errors = {}

    def counts_of(self, member: int) -> Counts:
        """All evaluations of a member."""
        pairs = zip(astuple(self.counts), astuple(self.own_counts[member]), strict=True)
        return Counts(*(all_ + own for all_, own in pairs))

    def loss(self, outputs: Tensor | None = None) -> Tensor:
        """The sum of the members' mean losses, penalties included: a scalar with its graph."""
        loss = super().loss(outputs)
        if not self._names:
            return loss
        weights = self.module.trained()
        return loss + 0.5 * self._coefficient * squared_norm(weights[name] for name in self._names)

    def backward(self, create_graph: bool = False) -> Tensor:
        """Evaluate the losses and put the gradient of their sum into ``.grad``; returns the sum, detached."""
        if create_graph:
            return super().backward(create_graph)
        self.counts.gradient_evaluations += 1
        self.counts.examples += self.batch.size
        losses = self._losses()
        total = losses.sum()
        if self.step_loss is None:
            self.step_loss, self.problem.losses = total, losses
        for name in self._names:
            total = total + 0.5 * self._coefficient * self._penalty(self.module.pieces[name])
        self.module.rows.grad = self.module.gradient.clone() if self._new_gradients else self.module.gradient
        return total

    def each(self, members: Sequence[int]) -> tuple[list[float], Sequence[Tensor]]:
        """The losses of some members and their gradients, by a program of the fewest members that has room for them."""
        for member in members:
            self.own_counts[member].gradient_evaluations += 1
            self.own_counts[member].examples += self.batch.size
        part = self._parts.of(members, self.batch) if self._evaluated else None
        if part is None:
            module, losses = self.module, self._losses()
        else:
            module, losses = part[0], self._losses_of(*part)
        if self.step_loss is None:
            self.step_loss, self.problem.losses = losses.sum(), losses
        for name in self._names:
            piece = module.pieces[name]
            # one number after the other, so that no sum depends on how many members there are
            norms = torch.stack([squared_norm([value]) for value in piece.value])
            losses = losses + 0.5 * self._coefficient * norms
            self._penalty(piece)
        values, gradients = losses.tolist(), module.gradient.view(module.members, -1)
        places = members if part is None else range(len(members))
        # each has memory of its own, since a member may keep its gradient for longer than the others
        return [values[place] for place in places], [gradients[place].clone() for place in places]

    def _losses(self) -> Tensor:
        """Evaluate all members' mean losses (K,) and write their gradients, both without the penalty."""
        # only the first evaluation of a step moves the buffers
        kept = [(buffer, buffer.clone()) for buffer in self.module.buffers()] if self._evaluated else []
        self._evaluated = True
        losses = self._losses_of(self.module, self.batch)
        for buffer, before in kept:
            buffer.copy_(before)
        return losses

    def _losses_of(self, module: StackedModule, batch: Batch) -> Tensor:
        """Evaluate the members of a module, whose buffers move."""
        if self._names:  # the penalty adds to the gradient, also of parameters that the loss does not depend on
            module.gradient.zero_()
        losses = self._by_program(module, batch) if module.program is not None else self._by_autograd()
        self.check_batch()
        return losses

    @torch.no_grad()
    def member_losses(self) -> Tensor:
        """Each member's mean loss (K,) on the current batch, in training mode; uncounted, and the buffers stay."""
        kept = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        program, inputs = self.module.program, self.batch.inputs
        assert inputs is not None
        outputs = self.module(inputs) if program is None else program.outputs(inputs, train=True)
        for buffer, before in kept:
            buffer.copy_(before)
        return losses_and_gradient(self.problem.problem.output_loss, outputs, self.targets)[0]

    @torch.no_grad()
    def _penalty(self, weight: Weight) -> Tensor:
        """Add the gradient of the penalty on one parameter of all members; the squared norm of the parameter."""
        assert weight.gradient is not None
        weight.gradient.add_(weight.value, alpha=self._coefficient)
        return weight.value.square().sum()

    @torch.no_grad()
    def _by_program(self, module: StackedModule, batch: Batch) -> Tensor:
        assert module.program is not None
        assert batch.inputs is not None
        assert batch.targets is not None
        outputs = module.program.outputs(batch.inputs, train=True)
        losses, gradient = losses_and_gradient(self.problem.problem.output_loss, outputs, batch.targets)
        module.program.backward(gradient)
        return losses

    def _by_autograd(self) -> Tensor:
        leaves, inputs = self.module.leaves(), self.batch.inputs
        assert inputs is not None
        with torch.enable_grad():
            losses = self.problem.member_losses(self.module.outputs(leaves, inputs), self.batch)
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        own = [self.module.pieces[name].gradient for name in leaves]
        torch._foreach_copy_([gradient for gradient in own if gradient is not None], gradients)
        return losses.detach()
