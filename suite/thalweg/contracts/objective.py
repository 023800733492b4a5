"""The one object between an optimizer and everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from thalweg.contracts.costs import Counts
from thalweg.contracts.derivatives import twice_differentiable
from thalweg.contracts.losses import OutputLoss
from thalweg.contracts.problem import Batch, Draw, LoadedProblem
from thalweg.contracts.untouched import DataChangedError, blame, versions_of


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
    """The loss of a module on the current batch and its gradient; counts every evaluation.

    Within one step every evaluation sees the same batch and the same random draws, and the module's buffers (batch
    norm's running statistics) advance once, at the first evaluation. Its curvature is in ``thalweg.curvature``.

    Args:
        module: what is trained.
        problem: where the batch comes from, and the loss.
        draw: the trial's randomness.
        draws_in_forward: whether the module's forward pass draws random numbers.
        advances_buffers: whether the first evaluation of a step moves the module's buffers.
        l2: coefficient of a penalty l2/2 ||w||^2 in the loss (coupled weight decay).
        penalized: the parameters w of the penalty; all that are trained where None.
        clip_norm: gradients whose norm over all parameters is larger are scaled down to it.
        counts: where to count, where not in counts of its own.
        mixed: whether the module computes under autocast to bfloat16.
    """

    def __init__(
        self,
        module: nn.Module,
        problem: LoadedProblem,
        draw: Draw,
        draws_in_forward: bool = False,
        advances_buffers: bool = True,
        l2: float = 0.0,
        clip_norm: float | None = None,
        counts: Counts | None = None,
        mixed: bool = False,
        penalized: Sequence[nn.Parameter] | None = None,
    ) -> None:
        self.module = module
        self.problem = problem
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.counts = Counts() if counts is None else counts
        self.batch = Batch(None, None, 0)
        self.step_loss: Tensor | None = None
        """The loss at the first evaluation of the current step, without the penalty, detached; None before it."""
        self.l2 = l2
        self._penalized = self.parameters if penalized is None else list(penalized)
        self.clip_norm = clip_norm
        self._draw = draw
        self._step = 0
        self._evaluated = False
        self._draws_in_forward = draws_in_forward
        self._advances_buffers = advances_buffers
        self.mixed = mixed
        self._has_buffers = any(True for _ in module.buffers())
        self._recomputes = self._has_buffers
        self._versions: list[tuple[Tensor, int]] = []

    def begin_step(self, batch: Batch, step: int) -> None:
        """Called by the training loop before the stepper: fixes the batch and the random draws."""
        self.batch = batch
        self._versions = versions_of((batch.inputs, batch.targets))
        self.step_loss = None
        self._evaluated = False
        self._step = step

    def observer(self, module: nn.Module | None = None, problem: LoadedProblem | None = None) -> Objective:
        """The same objective for a probe, on a copy of the module if one is given: uncounted, buffers left alone.

        It is the problem's own loss: no penalty, nothing clipped, in full precision.
        """
        module, problem = module or self.module, problem or self.problem
        watching = Objective(module, problem, self._draw, self._draws_in_forward, advances_buffers=False)
        watching.begin_step(self.batch, self._step)
        return watching

    def outputs(self) -> Tensor:
        """The module's outputs on the current batch, with their graph: for losses of the form l(outputs, targets)."""
        return self._evaluate(self.problem.outputs)

    def loss(self, outputs: Tensor | None = None) -> Tensor:
        """The mean loss on the current batch, penalty included: a scalar with its graph.

        Args:
            outputs: what ``outputs()`` gave, where the forward pass need not be repeated.
        """
        loss = self._evaluate(self.problem.loss) if outputs is None else self.output_loss.mean(outputs, self.targets)
        if self.step_loss is None:
            self.step_loss = loss.detach()
        return loss + 0.5 * self.l2 * squared_norm(self._penalized) if self.l2 and self._penalized else loss

    @property
    def output_loss(self) -> OutputLoss:
        """The loss as a function of outputs; TypeError where the problem's loss has no such form."""
        if self.problem.output_loss is None:
            raise TypeError("the problem's loss is no function of outputs and targets, so it has no GGN and no Fisher")
        return self.problem.output_loss

    @property
    def targets(self) -> Tensor:
        """The targets of the current batch."""
        assert self.batch.targets is not None
        return self.batch.targets

    def sampled_targets(self, outputs: Tensor, sample: int = 0) -> Tensor:
        """Targets drawn from the model's own distribution at ``outputs``; ``sample`` numbers a step's draws."""
        return self.output_loss.sample(outputs, self._draw.generator("labels", self._step, sample))

    def backward(self, create_graph: bool = False) -> Tensor:
        """Evaluate the loss and put its gradient into each parameter's ``.grad``; returns the loss, detached.

        A parameter that the loss does not depend on has gradient zero, as everywhere here. Also the closure that
        ``torch.optim.LBFGS`` wants.

        Args:
            create_graph: whether gradients keep their graph, to be differentiated once more. Whoever asks for it sets
                ``.grad`` to None in the end: a gradient with its graph holds itself in memory.
        """
        self.counts.add_gradient(self.batch.size)
        for parameter in self.parameters:
            parameter.grad = None
        if torch.is_grad_enabled():  # a context costs as much as a small layer
            loss = self._backward(create_graph)
        else:
            with torch.enable_grad():
                loss = self._backward(create_graph)
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.clip_norm is not None:
            if any(parameter.grad is not None and parameter.grad.is_sparse for parameter in self.parameters):
                raise ValueError("clip_norm takes dense gradients: build embeddings with sparse=False")
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        return loss.detach()

    def _backward(self, create_graph: bool) -> Tensor:
        if create_graph:
            with twice_differentiable():
                loss = self.loss()
            with self.going_back():
                gradients = torch.autograd.grad(loss, self.parameters, create_graph=True, materialize_grads=True)
            self._count_products_of(gradients)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                # a class may detach its gradients in place, which a view does not allow; loss.backward() gives none
                parameter.grad = gradient.clone() if gradient._is_view() else gradient
            return loss
        loss = self.loss()
        if self._recomputes:
            with self.going_back():
                torch.autograd.backward(loss)
        else:
            torch.autograd.backward(loss)
        return loss

    def _count_products_of(self, gradients: Iterable[Tensor]) -> None:
        """Count a Hessian product whenever somebody differentiates gradients that keep their graph."""
        counts, examples = self.counts, self.batch.size
        first = next((gradient for gradient in gradients if gradient.requires_grad), None)
        if first is not None:
            first.register_hook(  # type: ignore[no-untyped-call]
                lambda _: counts.add_products("hvp", 1, examples)
            )

    def gradient(self, outputs: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The loss and its gradient, one tensor a parameter; leaves ``.grad`` alone, and the graph of ``outputs``."""
        self.counts.add_gradient(self.batch.size)
        with torch.enable_grad():
            loss = self.loss(outputs)
            with self.going_back():
                gradients = torch.autograd.grad(
                    loss, self.parameters, materialize_grads=True, retain_graph=outputs is not None
                )
        if self.clip_norm is not None:
            norm = torch.nn.utils.get_total_norm(gradients)
            scale = (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            gradients = tuple(gradient * scale for gradient in gradients)
        return loss.detach(), list(gradients)

    def _evaluate(self, function: Callable[[nn.Module, Batch], Tensor]) -> Tensor:
        """A forward pass on the step's batch with the step's draws; only the first one advances buffers.

        Raises:
            DataChangedError: the pass wrote into the batch, so that the next one would see other numbers.
        """
        self.counts.examples += self.batch.size
        keep_buffers = self._has_buffers and (self._evaluated or not self._advances_buffers)
        self._evaluated = True
        if not keep_buffers and not self._draws_in_forward:
            value = self._computed(function)
            self.check_batch()
            return value
        with kept_buffers(self.module) if keep_buffers else nullcontext():
            if self._draws_in_forward:
                with torch.random.fork_rng():
                    torch.manual_seed(self._draw.seed_for("forward", self._step))
                    value = self._computed(function)
            else:
                value = self._computed(function)
        self.check_batch()
        return value

    @contextmanager
    def going_back(self) -> Iterator[None]:
        """Around a backward pass, in which ``torch.utils.checkpoint`` goes forward once more: the buffers stay.

        Whether a module does so shows in the first one.
        """
        if not self._recomputes:
            yield
            return
        with kept_buffers(self.module):
            before = [(buffer, buffer._version) for buffer in self.module.buffers()]
            yield
            after = self.module.buffers()
            self._recomputes = any(
                now is not then or now._version != version for now, (then, version) in zip(after, before, strict=True)
            )

    def check_batch(self) -> None:
        """Raise DataChangedError where something has written into the batch since the step began."""
        for tensor, version in self._versions:
            if tensor._version != version:
                raise DataChangedError(blame(self.module, self.batch.inputs))

    def _computed(self, function: Callable[[nn.Module, Batch], Tensor]) -> Tensor:
        """In mixed precision, convert the result back to the parameters' dtype."""
        if not self.mixed:
            return function(self.module, self.batch)
        first = self.parameters[0]
        with torch.autocast(first.device.type, torch.bfloat16):
            return function(self.module, self.batch).to(first.dtype)


def squared_norm(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of squared absolute values of all numbers, a real scalar."""
    real = (torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors)
    return torch.stack([tensor.square().sum() for tensor in real]).sum()
