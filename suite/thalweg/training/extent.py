"""Counts a network while it is built without content, so that a network that is too large is never made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from thalweg.contracts import Architecture, Shape
from thalweg.limits import MODULES, PARAMETERS, Limit
from thalweg.training.apart import apart
from thalweg.training.contained import contained
from thalweg.training.randomness import seeded


class _EnoughError(BaseException):
    """Ends a build. As a BaseException it passes through a plugin's ``except Exception``."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.unit)
        self.limit = limit


_DRAWS = {torch.Tensor.normal_}
"""What imports torch's compiler when it draws for a tensor without content, which takes a second in every fork."""


class _NoDraws(TorchFunctionMode):
    """While active, no normal numbers are drawn for tensors without content."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWS and args and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def check_extent(architecture: Architecture, options: Mapping[str, Any], shape: Shape, where: str) -> int | None:
    """The number of a network's parameters, counted while the network is built on torch's meta device, without content.

    torch reports each module and parameter when it is registered, so building ends at the limit. A network that cannot
    be built on the meta device, because it looks at its weights for instance, is built with content and counted in the
    same way. The network is built in a fork, because a plugin may keep a tensor that it made, and such a tensor would
    be empty.

    Args:
        architecture: builds the network.
        options: all options of the architecture.
        shape: the shape of the problem that the network is for.
        where: what an error names.

    Returns:
        The number of parameters. None where the network cannot be built at all; its trials will say why.

    Raises:
        TooMuch: the network has more modules or parameters than the limits allow.
    """
    what = f"{where}: architecture {architecture.name!r}"
    most = MODULES.value, PARAMETERS.value
    found = apart(lambda: _numbers(architecture, options, shape, *most))
    for limit in (MODULES, PARAMETERS):
        if found == limit.unit:
            raise limit.reached(what)
    assert not isinstance(found, str)
    PARAMETERS.check(found or 0, what)
    return found


def _numbers(
    architecture: Architecture, options: Mapping[str, Any], shape: Shape, most_modules: int, most_parameters: int
) -> int | str | None:
    """The number of trained parameters, or the unit of the limit at which counting ended."""
    for device in ("meta", "cpu"):
        try:
            with contained(), seeded(0), torch.device(device), _NoDraws(), _counted(most_modules, most_parameters):
                module = architecture.build(options, shape)
            return sum(one.numel() for one in module.parameters() if not is_lazy(one))
        except _EnoughError as reached:
            return reached.limit.unit
        except (Exception, SystemExit) as error:
            # torch's words where a size, or the product of two, is no number of 64 bits
            if "overflow" in str(error).lower():
                return PARAMETERS.unit
    return None


@contextmanager
def _counted(most_modules: int, most_parameters: int) -> Iterator[None]:
    """While active, count what any module registers, and end the build at a limit."""
    modules = 0
    tensors: dict[int, nn.Parameter] = {}
    numbers = 0

    def module(*_: object) -> None:
        nonlocal modules
        modules += 1
        if modules > most_modules:
            raise _EnoughError(MODULES)

    def parameter(_: nn.Module, __: str, one: nn.Parameter | None) -> None:
        nonlocal numbers
        # a tied parameter is one
        if one is None or is_lazy(one) or id(one) in tensors:
            return
        tensors[id(one)] = one
        numbers += one.numel()
        if len(tensors) > most_modules:
            raise _EnoughError(MODULES)
        if numbers > most_parameters:
            raise _EnoughError(PARAMETERS)

    handles = [
        hooks.register_module_module_registration_hook(module),
        hooks.register_module_parameter_registration_hook(parameter),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
