"""Copies of a module and its stepper, for probes that may do to them what they like."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn

from thalweg.contracts import Stepper
from thalweg.contracts.copies import copied, tensors_held


def refreshed(made: nn.Module | None, module: nn.Module) -> nn.Module:
    """A copy of the module: the one that was made before, with the tensors and attributes of now, where it still fits.

    Copying a module anew takes about as long as a step of a small one.
    """
    if made is None or not _alike(made, module):
        made = copied(module)
        for parameter in made.parameters():
            parameter.grad = None
        return made
    mine, now = _tensors(made), _tensors(module)
    with torch.no_grad():
        torch._foreach_copy_(mine, now)
    for one, other in zip(mine, now, strict=True):
        one.requires_grad_(other.requires_grad)
        one.grad = None
    for mine_part, part in zip(made.modules(), module.modules(), strict=True):
        vars(mine_part).update({name: copy.copy(value) for name, value in _attributes(part).items()})
    return made


def copied_stepper(stepper: Stepper, module: nn.Module, copied: nn.Module) -> Stepper | None:
    """A copy that steps ``copied`` where the stepper steps ``module``; None where it cannot be copied.

    Nor can one that holds the memory of weights under another tensor, as a vector of which all weights are views.
    """
    if _holds_memory(stepper, module):
        return None
    same: dict[int, object] = {id(module): copied}
    for mine, theirs in ((_tensors(module), _tensors(copied)), (module.modules(), copied.modules())):
        same |= {id(one): other for one, other in zip(mine, theirs, strict=True)}
    try:
        return copy.deepcopy(stepper, same)
    except Exception:  # it may hold what cannot be copied: a file, a tracker, a graph
        return None


def _holds_memory(stepper: Stepper, module: nn.Module) -> bool:
    own = {id(tensor) for tensor in _tensors(module)}
    memory = {tensor.untyped_storage().data_ptr() for tensor in _tensors(module) if tensor.numel()}
    return any(
        id(tensor) not in own and tensor.layout is torch.strided and tensor.untyped_storage().data_ptr() in memory
        for tensor in tensors_held(vars(stepper))
    )


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _alike(made: nn.Module, module: nn.Module) -> bool:
    """Whether a copy has still the modules, hooks and tensors of what it was copied from, which holds nothing else."""
    if not all(_is_simple(value) for part in module.modules() for value in _attributes(part).values()):
        return False

    def named(it: nn.Module) -> list[tuple[str, object]]:
        tensors = itertools.chain(it.named_parameters(), it.named_buffers())
        parts: list[tuple[str, object]] = [
            (name, (type(part), len(part._forward_hooks), len(part._forward_pre_hooks)))
            for name, part in it.named_modules()
        ]
        return parts + [(name, (tensor.shape, tensor.dtype, tensor.device)) for name, tensor in tensors]

    return named(made) == named(module)


_OF_EVERY_MODULE = set(vars(nn.Module())) - {"training"}


def _attributes(part: nn.Module) -> dict[str, object]:
    """What a module has besides parameters, buffers, submodules and hooks."""
    return {name: value for name, value in vars(part).items() if name not in _OF_EVERY_MODULE}


def _is_simple(value: object) -> bool:
    """Whether a shallow copy is a copy."""
    if isinstance(value, list | tuple):
        return all(_is_simple(each) and not isinstance(each, list) for each in value)
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)
