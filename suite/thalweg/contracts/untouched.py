"""Finds writes into stored data, and names the module that writes.

A module that works in place (``x -= 0.5``, a first ``nn.ReLU(inplace=True)``) changes the examples for every later
evaluation, and for every later trial of the process. torch counts the writes to a tensor, through views too, and
reading the count costs next to nothing. torch does not count writes through ``.data`` or NumPy. Such writes change a
sum over the bits of the numbers, which is compared once a trial.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts.copies import copied


class DataChangedError(Exception):
    """Something wrote into the data of a trial, so the trial's results belong to other data."""


class Untouched:
    """The tensors of a data set as they were.

    Args:
        holder: a tensor, or what holds tensors: mappings, sequences, and the attributes of a problem.

    >>> x = torch.zeros(3)
    >>> kept = Untouched({"inputs": x})
    >>> _ = x[:1].add_(1)
    >>> kept.written
    True
    """

    def __init__(self, holder: Any) -> None:
        attributes = holder if isinstance(holder, Tensor | Mapping | list | tuple) else vars(holder)
        self._versions = [(tensor, tensor._version) for tensor in tensors_in(attributes)]
        self._sums = [_bits(tensor) for tensor, _ in self._versions]

    @property
    def written(self) -> bool:
        """Whether torch counted a write since."""
        return any(tensor._version != version for tensor, version in self._versions)

    @property
    def changed(self) -> bool:
        """Whether torch counted a write, or the numbers' bits have another sum: reads all numbers once."""
        return self.written or any(
            _bits(tensor) != bits for (tensor, _), bits in zip(self._versions, self._sums, strict=True)
        )


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in a value: the value itself, or the tensors in mappings and sequences at any depth."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def versions_of(values: Iterable[Any]) -> list[tuple[Tensor, int]]:
    """The tensors in some values, each with torch's count of the writes to it."""
    found: list[tuple[Tensor, int]] = []
    for value in values:
        if isinstance(value, Tensor):  # nearly always, and in each step
            found.append((value, value._version))
        elif value is not None:
            found += [(tensor, tensor._version) for tensor in tensors_in(value)]
    return found


def blame(module: nn.Module, inputs: Any) -> str:
    """Who wrote into a module's inputs: the submodule whose forward does, found on copies of both, or somebody else."""
    inputs = copy.deepcopy(inputs)
    watched = list(tensors_in(inputs))
    before: dict[nn.Module, list[tuple[int, int]]] = {}
    found: list[str] = []

    def state() -> list[tuple[int, int]]:
        # a few examples suffice; their bits also show writes that torch does not count
        return [(tensor._version, _bits(tensor)) for tensor in watched]

    def enter(part: nn.Module, _: object) -> None:
        before[part] = state()

    def leave(part: nn.Module, *_: object) -> None:
        if not found and before[part] != state():
            found.append(f"{names[part]} ({type(part).__name__})" if names[part] else type(part).__name__)

    try:
        module = copied(module)
        names = {part: name for name, part in module.named_modules()}
        for part in module.modules():
            part.register_forward_pre_hook(enter)
            part.register_forward_hook(leave)
        with torch.no_grad(), torch.random.fork_rng():
            module(inputs)
    except Exception:  # a module that cannot be copied or called so: its class is all that can be told
        found.append(type(module).__name__)
    if not found:
        return (
            "something wrote into a batch or the data set, and not the forward pass: an optimizer, a probe, a hook, or "
            "what the problem prepares and augments batches with"
        )
    return (
        f"the module {found[0]} writes into its input, which belongs to the data set: let it make a tensor of its own "
        "(x = x - 0.5 instead of x -= 0.5, nn.ReLU() instead of nn.ReLU(inplace=True))"
    )


_CHUNK = {"cpu": 2**16}
"""Words that are read at once: on a CPU as many as its cache holds."""


def _bits(tensor: Tensor) -> int:
    """A sum over the bits of a tensor's numbers, modulo 2^64, in which each word has a different factor.

    Different factors make the sum change where numbers change places. The upper half of a word is mixed into the lower
    half, because two changes of sign would cancel otherwise: 2^63 times any odd factor is 2^63.
    """
    if tensor.layout is torch.sparse_coo:
        return _bits(tensor._indices()) ^ _bits(tensor._values())
    if tensor.is_quantized or tensor.layout is not torch.strided:
        return 0
    raw = torch.view_as_real(tensor.detach().resolve_conj()) if tensor.is_complex() else tensor.detach()
    flat = raw.contiguous().view(-1)
    if not flat.numel():
        return 0
    octets = flat.view(torch.uint8)
    if octets.storage_offset() % 8:
        octets = octets.clone()
    whole = len(octets) // 8 * 8
    size = _CHUNK.get(tensor.device.type, 2**24)
    factors = torch.arange(1, 2 * min(max(whole // 8, 8), size), 2, device=tensor.device)
    total = 0
    for words in (*torch.split(octets[:whole].view(torch.int64), size), octets[whole:].long()):
        mixed = (words ^ (words >> 32)) * factors[: len(words)]
        total = (total * 0x9E3779B97F4A7C15 + int(mixed.sum())) % 2**64
    return total
