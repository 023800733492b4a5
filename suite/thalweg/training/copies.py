"""Copies of a module and its stepper, which a probe may change at will."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable

import torch
from torch import nn

from thalweg.contracts import Stepper
from thalweg.contracts.copies import copied, tensors_held


def refreshed(made: nn.Module | None, module: nn.Module) -> nn.Module:
    """A copy of the module; an earlier copy is brought up to date where its parts still are those of the module.

    Copying a small module anew takes about as long as a training step of it.
    """
    pairs = None if made is None else _paired(made, module)
    if made is None or pairs is None:
        made = copied(module)
        for parameter in made.parameters():
            parameter.grad = None
        return made
    mine, now = _tensors(mine for mine, _ in pairs), _tensors(part for _, part in pairs)
    with torch.no_grad():
        torch._foreach_copy_(mine, now)
    for one, other in zip(mine, now, strict=True):
        one.requires_grad_(other.requires_grad)
        one.grad = None
    for mine_part, part in pairs:
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
    parts, other_parts = _parts(module), _parts(copied)
    for mine, theirs in ((_tensors(parts), _tensors(other_parts)), (parts, other_parts)):
        same |= {id(one): other for one, other in zip(mine, theirs, strict=True)}
    same |= _cloned(stepper, set(same))
    try:
        return copy.deepcopy(stepper, same)
    except Exception:  # the stepper may hold a file, a tracker or a graph
        return None


def _cloned(stepper: Stepper, own: set[int]) -> dict[int, object]:
    """Copies of the tensors that a stepper holds and that own their memory. ``copy.deepcopy`` takes ten times as long.

    Left out are tensors with a graph, a gradient or attributes, subclasses, and tensors that share their memory.
    """
    held = [tensor for tensor in tensors_held(vars(stepper)) if id(tensor) not in own]
    plain = [one for one in held if type(one) is torch.Tensor and one.layout is torch.strided and not vars(one)]
    memory = Counter(one.untyped_storage().data_ptr() for one in held if one.layout is torch.strided)
    return {
        id(one): one.clone()
        for one in plain
        if not one.requires_grad
        and one.grad is None
        and one.is_contiguous()
        and one.untyped_storage().nbytes() == one.nbytes
        and memory[one.untyped_storage().data_ptr()] == 1
    }


def _holds_memory(stepper: Stepper, module: nn.Module) -> bool:
    weights = _tensors(_parts(module))
    own = {id(tensor) for tensor in weights}
    memory = {tensor.untyped_storage().data_ptr() for tensor in weights if tensor.numel()}
    return any(
        id(tensor) not in own and tensor.layout is torch.strided and tensor.untyped_storage().data_ptr() in memory
        for tensor in tensors_held(vars(stepper))
    )


def _parts(module: nn.Module) -> list[nn.Module]:
    """The modules in a module, each once. ``nn.Module.modules`` makes all their names, too."""
    found = {id(module): module}
    waiting = [module]
    while waiting:
        for part in waiting.pop()._modules.values():
            if part is not None and id(part) not in found:
                found[id(part)] = part
                waiting.append(part)
    return list(found.values())


def _tensors(parts: Iterable[nn.Module]) -> list[torch.Tensor]:
    """The parameters and buffers of modules, each once."""
    held = (tensor for part in parts for place in (part._parameters, part._buffers) for tensor in place.values())
    return list({id(tensor): tensor for tensor in held if tensor is not None}.values())


def _paired(made: nn.Module, module: nn.Module) -> list[tuple[nn.Module, nn.Module]] | None:
    """The parts of a copy with those of its original; None unless they are alike and hold nothing else that changes."""
    parts, own = _parts(module), _parts(made)
    if len(parts) != len(own) or not all(map(_like, own, parts)):
        return None
    kinds = [[(tensor.shape, tensor.dtype, tensor.device) for tensor in _tensors(each)] for each in (own, parts)]
    return list(zip(own, parts, strict=True)) if kinds[0] == kinds[1] else None


def _like(made: nn.Module, part: nn.Module) -> bool:
    """Whether two modules have the same class, names and numbers of hooks, and the second holds simple values."""

    def shown(it: nn.Module) -> tuple[object, ...]:
        tensors = [name for place in (it._parameters, it._buffers) for name, held in place.items() if held is not None]
        return type(it), len(it._forward_hooks), len(it._forward_pre_hooks), list(it._modules), tensors

    return shown(made) == shown(part) and all(map(_is_simple, _attributes(part).values()))


_OF_EVERY_MODULE = set(vars(nn.Module())) - {"training"}


def _attributes(part: nn.Module) -> dict[str, object]:
    """The attributes of a module besides parameters, buffers, submodules and hooks."""
    return {name: value for name, value in vars(part).items() if name not in _OF_EVERY_MODULE}


def _is_simple(value: object) -> bool:
    """Whether a shallow copy of a value shares nothing that can change."""
    if isinstance(value, list | tuple):
        return all(_is_simple(each) and not isinstance(each, list) for each in value)
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)
