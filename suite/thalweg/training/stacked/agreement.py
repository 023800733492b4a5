"""Compares K members as one program with the members' own modules: losses, gradients, buffers and evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thalweg.contracts import Batch, Draw
from thalweg.contracts.copies import copied
from thalweg.contracts.precision import converted
from thalweg.contracts.supervised import Supervised
from thalweg.contracts.untouched import versions_of
from thalweg.failure import Failure
from thalweg.stacking import group_key
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.objective import StackedObjective
from thalweg.training.stacked.problem import StackedProblem
from thalweg.training.stacked.together import CannotStackError, Kind
from thalweg.trial import ComponentRef

STEPS = 2
"""Passes that are compared. A buffer may change from the first to the second."""

CLOSE = 1e-6
"""The largest difference, as a share of the largest number of its kind, in float64."""


def is_watched(module: nn.Module) -> bool:
    """Whether a hook watches a parameter. A copy of a parameter has no hooks."""
    return any(
        parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
        for parameter in module.parameters()
    )


def disagreement(
    modules: Sequence[nn.Module], problem: Supervised, batches: Sequence[Sequence[Batch]], direct: bool
) -> str | None:
    """What a stack computes otherwise than its members' own modules under autograd; None where all agrees.

    The comparison is made in float64, on copies whose weights are moved a little, because weights of zero hide errors.

    Args:
        modules: the members, in training mode.
        problem: gives the loss of a member's batch.
        batches: the batches of each member, for STEPS passes.
        direct: whether the stack runs without autograd, where its network allows that.
    """
    members = [moved(module, index).double() for index, module in enumerate(modules)]
    stack = StackedModule([copied(member) for member in members], direct=direct)
    if direct and stack.program is None:
        return "the network has other operations"
    draws = [Draw(0, None)] * len(members)
    objective = StackedObjective(stack, StackedProblem(problem, draws), draws[0])
    for step in range(STEPS):
        own = [_double(batch[step]) for batch in batches]
        joined = (_joined([batch.inputs for batch in own]), _joined([batch.targets for batch in own]))
        objective.begin_step(Batch(*joined, own[0].size), step)
        objective.backward()
        assert objective.problem.losses is not None
        for index, (member, batch) in enumerate(zip(members, own, strict=True)):
            trained = {name: p for name, p in member.named_parameters() if p.requires_grad}
            written = versions_of([batch.inputs])
            with torch.enable_grad():
                loss = problem.loss(member, batch)
                gradients = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
            if any(tensor._version != version for tensor, version in written):
                return "the inputs, into which the network writes,"
            if not _close(objective.problem.losses[index], loss.detach()):
                return "the loss"
            for name, gradient in zip(trained, gradients, strict=True):
                found = stack.pieces[name].gradient
                if found is None or not _close(found[index], gradient):
                    return f"the gradient of {name}"
            for name, buffer in member.named_buffers():
                if not _close(stack.buffers_by_name[name][index], buffer):
                    return f"the buffer {name}"
    if stack.program is not None:
        with torch.no_grad():
            outputs = stack.program.outputs(joined[0], train=False)
            for index, (member, batch) in enumerate(zip(members, own, strict=True)):
                if not _close(outputs[index], problem.outputs(member.eval(), batch)):
                    return "an evaluation"
    return None


_direct: dict[tuple[str, tuple[str | type, ...]], bool] = {}
"""What was found in this process, by kind of trials; the optimizer has no part in it."""


def runs_directly(kind: Kind, modules: Sequence[nn.Module], draws: Sequence[Draw]) -> bool:
    """Whether a stack of these members runs without autograd; else it runs by vmap.

    Raises:
        CannotStackError: a stack computes something else than its members, either way.
    """
    no_optimizer = ComponentRef(name="none", provider="none")
    name = group_key(kind.trial.model_copy(update={"optimizer": no_optimizer, "stack": None}))
    key = name, kind.parts(modules[0])
    if key not in _direct:
        few = min(2, len(modules))
        batches = [[kind.problem.batch("train", step, draw) for step in range(STEPS)] for draw in draws[:few]]
        for direct in (True, False):
            try:
                wrong = disagreement(modules[:few], kind.problem, batches, direct)
            except (Exception, SystemExit) as error:
                wrong = f"something else ({Failure.of(error).line})"
            if wrong is None:
                _direct[key] = direct
                break
        else:
            raise CannotStackError(f"a stack computes {wrong} otherwise than the network alone")
    return _direct[key]


def moved(module: nn.Module, seed: int) -> nn.Module:
    """A copy in training mode whose weights are moved a little: weights of zero hide what they multiply."""
    member = copied(module).train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in member.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter), alpha=0.1)
    return member


def _double(batch: Batch) -> Batch:
    inputs, targets = (
        None if part is None else converted(part, torch.float64) for part in (batch.inputs, batch.targets)
    )
    return Batch(inputs, targets, batch.size)


def _joined(parts: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([part for part in parts if part is not None])


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    a, b = one.detach().double(), other.detach().double()
    scale = float(b.abs().max()) if b.numel() else 0.0
    return torch.allclose(a, b, rtol=CLOSE, atol=CLOSE * scale + 1e-12, equal_nan=True)
