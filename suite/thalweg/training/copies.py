"""Copies of a module and its stepper, which a probe may change at will."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn

from thalweg.contracts import Stepper
from thalweg.contracts.copies import copied, tensors_held


def refreshed(made: nn.Module | None, module: nn.Module) -> nn.Module:
    """A copy of the module; an earlier copy is brought up to date where its parts still are those of the module.

    Copying a small module anew takes about as long as a training step of it.
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
    """A copy of the stepper that steps ``copied`` in place of ``module``; None where the stepper cannot be copied.

    A stepper that holds the memory of weights under another tensor, such as a vector of which all weights are views,
    cannot be copied.
    """
    if _holds_memory(stepper, module):
        return None
    same: dict[int, object] = {id(module): copied}
    for mine, theirs in ((_tensors(module), _tensors(copied)), (module.modules(), copied.modules())):
        same |= {id(one): other for one, other in zip(mine, theirs, strict=True)}
    try:
        return copy.deepcopy(stepper, same)
    except Exception:  # the stepper may hold a file, a tracker or a graph
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
    """Whether a copy still has the modules, hooks and tensors of its original, and the original holds nothing else."""
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
    """The attributes of a module besides parameters, buffers, submodules and hooks."""
    return {name: value for name, value in vars(part).items() if name not in _OF_EVERY_MODULE}


def _is_simple(value: object) -> bool:
    """Whether a shallow copy of a value shares nothing that can change."""
    if isinstance(value, list | tuple):
        return all(_is_simple(each) and not isinstance(each, list) for each in value)
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)
