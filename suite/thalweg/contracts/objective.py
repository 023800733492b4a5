"""The one object between an optimizer and everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thalweg.contracts.problem import Batch, Draw, LoadedProblem


@dataclass(slots=True)
class Counts:
    """What has been asked of an objective so far."""

    examples: int = 0
    """Examples pushed through the module to evaluate a loss."""
    gradient_evaluations: int = 0
    """Gradients of the loss on a batch of whatever size."""
    curvature_products: int = 0
    """Products of a Hessian, GGN or Fisher matrix with one vector."""


@contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """While active, the module works on copies of its buffers; afterwards its own are back, untouched.

    Copies rather than a restoring write, because autograd keeps batch norm's buffers for the backward pass and refuses
    one that was written to in between.
    """
    saved = [
        (owner, name, buffer)
        for owner in module.modules()
        for name, buffer in owner._buffers.items()
        if buffer is not None
    ]
    for owner, name, buffer in saved:
        owner._buffers[name] = buffer.clone()
    try:
        yield
    finally:
        for owner, name, buffer in saved:
            owner._buffers[name] = buffer


class Objective:
    """The loss of a module on the current batch, its gradient and its curvature; counts what is asked of it.

    Within one step every evaluation sees the same batch and the same random draws, and the module's buffers (batch
    norm's running statistics) advance once, at the first evaluation.
    """

    def __init__(
        self,
        module: nn.Module,
        problem: LoadedProblem,
        draw: Draw,
        draws_in_forward: bool = False,
        advances_buffers: bool = True,
    ) -> None:
        self.module = module
        self.problem = problem
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.counts = Counts()
        self.batch = Batch(None, None, 0)
        self.step_loss: Tensor | None = None
        """The loss at the first evaluation of the current step, detached; None before it."""
        self._draw = draw
        self._step = 0
        self._draws_in_forward = draws_in_forward
        self._advances_buffers = advances_buffers
        self._has_buffers = any(True for _ in module.buffers())

    def begin_step(self, batch: Batch, step: int) -> None:
        """Called by the training loop before the stepper: fixes the batch and the random draws."""
        self.batch = batch
        self.step_loss = None
        self._step = step

    def observer(self, module: nn.Module | None = None, problem: LoadedProblem | None = None) -> Objective:
        """The same objective for a probe, on a copy of the module if one is given: uncounted, buffers left alone."""
        module, problem = module or self.module, problem or self.problem
        watching = Objective(module, problem, self._draw, self._draws_in_forward, advances_buffers=False)
        watching.begin_step(self.batch, self._step)
        return watching

    def loss(self) -> Tensor:
        """The mean loss on the current batch, a scalar with its graph."""
        self.counts.examples += self.batch.size
        first = self.step_loss is None
        keep_buffers = self._has_buffers and not (first and self._advances_buffers)
        with kept_buffers(self.module) if keep_buffers else nullcontext():
            if self._draws_in_forward:
                with torch.random.fork_rng():
                    torch.manual_seed(self._draw.seed_for("forward", self._step))
                    loss = self.problem.loss(self.module, self.batch)
            else:
                loss = self.problem.loss(self.module, self.batch)
        if first:
            self.step_loss = loss.detach()
        return loss

    def backward(self) -> Tensor:
        """Evaluate the loss and put its gradient into each parameter's ``.grad``; returns the loss, detached.

        Also the closure that ``torch.optim.LBFGS`` wants.
        """
        self.counts.gradient_evaluations += 1
        for parameter in self.parameters:
            parameter.grad = None
        with torch.enable_grad():
            loss = self.loss()
            torch.autograd.backward(loss)
        return loss.detach()

    def gradient(self) -> tuple[Tensor, list[Tensor]]:
        """The loss and its gradient, one tensor a parameter; leaves ``.grad`` alone."""
        self.counts.gradient_evaluations += 1
        with torch.enable_grad():
            loss = self.loss()
            gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        return loss.detach(), list(gradients)

    def hessian_product(self, vectors: Iterable[Tensor]) -> list[Tensor]:
        """H v for the Hessian H of the loss on the current batch: the gradient of g'v. One tensor a parameter."""
        self.counts.curvature_products += 1
        with torch.enable_grad():
            gradients = torch.autograd.grad(self.loss(), self.parameters, create_graph=True, materialize_grads=True)
            inner = sum(((g * v).sum() for g, v in zip(gradients, vectors, strict=True)), start=torch.zeros(()))
            if not isinstance(inner, Tensor) or not inner.requires_grad:
                return [torch.zeros_like(parameter) for parameter in self.parameters]
            return list(torch.autograd.grad(inner, self.parameters, materialize_grads=True))
