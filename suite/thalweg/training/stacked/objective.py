"""The objective of K members at once: the sum of their losses, whose gradient is the stack of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple

import torch
from torch import Tensor

from thalweg.contracts.costs import Counts
from thalweg.contracts.objective import squared_norm
from thalweg.contracts.problem import Batch, Draw
from thalweg.contracts.stacked import MembersObjective
from thalweg.training.direct.layer import Layer, Multiplying
from thalweg.training.direct.program import Program
from thalweg.training.stacked.losses import losses_and_gradient
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.parts import Parts
from thalweg.training.stacked.problem import StackedProblem


class StackedObjective(MembersObjective):
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
        super().__init__(module, problem, draw, l2=l2, penalized=[])
        self._new_gradients = new_gradients
        self._names = [name for name in penalized if l2]
        self._parts = Parts(module)
        self.trains = [True] * module.members
        self.errors: dict[int, tuple[Exception, Counts]] = {}
        self.own_counts = [Counts() for _ in range(module.members)]
        """What was counted of one member alone, beside what ``counts`` holds for every member."""

    def begin_step(self, batch: Batch, step: int) -> None:
        """Fix the batch. No member has failed yet."""
        super().begin_step(batch, step)
        self.errors = {}

    def fail(self, member: int, error: Exception) -> None:
        """Note the first error of a member's step."""
        self.errors.setdefault(member, (error, self.counts_of(member)))

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
        return loss + 0.5 * self.l2 * squared_norm(weights[name] for name in self._names)

    def backward(self, create_graph: bool = False) -> Tensor:
        """Evaluate the losses and put the gradient of their sum into ``.grad``; returns the sum, detached."""
        if create_graph:
            return super().backward(create_graph)
        self.counts.add_gradient(self.batch.size)
        self.counts.examples += self.batch.size
        losses = self._losses()
        total = losses.sum()
        if self.step_loss is None:
            self.step_loss, self.problem.losses = total, losses
        self.losses = self._with_penalties(self.module, losses)
        self.module.rows.grad = self.module.gradient.clone() if self._new_gradients else self.module.gradient
        return self.losses.sum() if self._names else total

    def each(self, members: Sequence[int]) -> tuple[list[float], Sequence[Tensor]]:
        """The losses of some members and their gradients, by a program of the fewest members that has room for them."""
        for member in members:
            self.own_counts[member].add_gradient(self.batch.size)
            self.own_counts[member].examples += self.batch.size
        part = self._parts.of(members, self.batch) if self._evaluated else None
        if part is None:
            module, losses = self.module, self._losses()
        else:
            module, losses = part[0], self._losses_of(*part)
        if self.step_loss is None:
            self.step_loss, self.problem.losses = losses.sum(), losses
        losses = self._with_penalties(module, losses)
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

    def losses_anew(self) -> Tensor:
        """Each member's mean loss (K,), penalty included, at the present weights. The buffers stay."""
        self.counts.examples += self.batch.size
        losses = self.member_losses()
        return losses + self._penalties(self.module) if self._names else losses

    def sampled_targets(self, outputs: Tensor, sample: int = 0) -> Tensor:
        """Targets (K, N, ...) that each member draws from its own distribution with its own seed."""
        generators = [draw.generator("labels", self._step, sample) for draw in self.problem.draws]
        drawn = [self.output_loss.sample(own.clone(), one) for own, one in zip(outputs, generators, strict=True)]
        return torch.stack(drawn)

    @torch.no_grad()
    def layer_inputs(self) -> dict[str, Tensor]:
        """The inputs of each layer as rows (K, N L, in)."""
        return {name: layer.input_rows() for name, layer in self.module.layers.items()}

    @torch.no_grad()
    def layer_gradients(self, of_outputs: Tensor) -> dict[str, Tensor]:
        """The gradients in each layer's outputs as rows (K, N L, out)."""
        self.counts.add_pull(self.batch.size)
        names = {id(layer): name for name, layer in self.module.layers.items()}
        found: dict[str, Tensor] = {}

        def see(layer: Layer, g: Tensor) -> None:
            if isinstance(layer, Multiplying):
                found[names[id(layer)]] = layer.gradient_rows(g)

        self._program.pulled(of_outputs, see)
        return found

    @torch.no_grad()
    def output_changes(self, weights: Mapping[str, Tensor]) -> Tensor:
        """J d (K, N, ...) along changes (K, ...) of parameters, by their names."""
        self.counts.add_products("jvp", 1, self.batch.size)
        found = self._program.tangent({id(self.module.pieces[name]): change for name, change in weights.items()})
        return torch.zeros_like(self.member_outputs) if found is None else found

    @property
    def _program(self) -> Program:
        if self.module.program is None:
            raise NotImplementedError("the network runs by autograd, which keeps no layer's inputs")
        return self.module.program

    def _with_penalties(self, module: StackedModule, losses: Tensor) -> Tensor:
        """Each member's loss (K,) with its penalty, whose gradient is added to the module's."""
        for name in self._names:
            weight = module.pieces[name]
            assert weight.gradient is not None
            weight.gradient.add_(weight.value, alpha=self.l2)
        return losses + self._penalties(module) if self._names else losses

    @torch.no_grad()
    def _penalties(self, module: StackedModule) -> Tensor:
        """Each member's penalty (K,)."""
        total = torch.zeros_like(module.rows.detach()[0, 0, :1].expand(module.members))
        for name in self._names:
            total = total + module.pieces[name].value.square().flatten(1).sum(1)
        return 0.5 * self.l2 * total

    @torch.no_grad()
    def _by_program(self, module: StackedModule, batch: Batch) -> Tensor:
        assert module.program is not None
        assert batch.inputs is not None
        assert batch.targets is not None
        outputs = module.program.outputs(batch.inputs, train=True)
        losses, gradient = losses_and_gradient(self.problem.problem.output_loss, outputs, batch.targets)
        module.program.backward(gradient)
        if module is self.module:
            self.member_outputs = outputs
        return losses

    def _by_autograd(self) -> Tensor:
        leaves, inputs = self.module.leaves(), self.batch.inputs
        assert inputs is not None
        with torch.enable_grad():
            outputs = self.module.outputs(leaves, inputs)
            losses = self.problem.member_losses(outputs, self.batch)
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        own = [self.module.pieces[name].gradient for name in leaves]
        torch._foreach_copy_([gradient for gradient in own if gradient is not None], gradients)
        self.member_outputs = outputs.detach()
        return losses.detach()
