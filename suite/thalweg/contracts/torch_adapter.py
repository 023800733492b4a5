"""Turns a ``torch.optim.Optimizer`` class into a thalweg optimizer."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from thalweg.contracts import step_limits
from thalweg.contracts.installed import package_of
from thalweg.contracts.optimizer import BuildContext, Optimizer, StackedStepper, Stepper
from thalweg.contracts.torch_arguments import Arguments
from thalweg.contracts.torch_stepper import (
    TorchRows,
    TorchStepper,
    demands_closure,
    fused_if_possible,
    has_modes,
)

_OURS: dict[str, Any] = {
    "closure": None,
    "create_graph": None,
    "modes": None,
    "groups": None,
    "source": "",
    "search": {},
    "choices": {},
}
"""Settings of ``register`` that are the class's own where it has an argument of that name."""

_STEPPING = ("closure", "create_graph", "modes")
"""Settings of ``register`` that say how steps are made. What is not said is found out at the first run."""


class TorchOptimizer(Optimizer):
    """A ``torch.optim.Optimizer`` class, with the defaults of its signature and a search range around its ``lr``.

    ``torch_arguments.Arguments`` decides which arguments become hyperparameters. An argument whose name means something
    else in benchmark files (``decoupled_weight_decay``) becomes none; it keeps its default or the value in
    ``settings``. The search range of ``lr`` reaches two decades from the default each way.

    Args:
        cls: the class.
        name: what benchmarks call it; the class's name in lower case where None.
        summary: one line; the first of the class's docstring where empty.
        elementwise: whether a weight's update uses that weight's gradients and state only, and settings are read from
            the parameter groups: then seeds can be batched.
        settings: defaults of arguments, ``lr=0.1``. Beside them, where the class has no argument of that name:
            ``search``, by hyperparameter the two ends of the range that tuning searches, ``{"lr": (1e-3, 1.0)}``;
            ``choices``, by argument the words that it may be, ``{"mode": ("fast", "slow")}``; ``closure``, whether
            ``step`` is given one, or ``"with gradients"`` where it wants gradients in place besides; ``create_graph``,
            whether gradients keep their graph; ``modes``, whether ``train()`` and ``eval()`` are called; ``groups``, a
            function from the module to what the class takes first, where that is more than its parameters: groups with
            settings of their own, the module itself, another optimizer; ``source``, the paper. Closures, graphs and
            modes are found out where nothing is said.

    Raises:
        TypeError: an argument has no default, or a setting is of the wrong kind.
    """

    def __init__(
        self,
        cls: type[torch.optim.Optimizer],
        name: str | None = None,
        summary: str = "",
        elementwise: bool = False,
        **settings: Any,
    ) -> None:
        self.cls = cls
        self.elementwise = elementwise
        # Adam_mini is adam-mini: names are words joined by hyphens
        self.name = re.sub(r"[^a-z0-9]+", "-", cls.__name__.lower()).strip("-") if name is None else name
        path = f"{cls.__module__}.{cls.__qualname__}"
        # the class's own docstring, not one that it inherits from torch
        self.summary = summary or inspect.cleandoc(cls.__doc__ or "").split("\n", 1)[0] or path
        own = inspect.signature(cls).parameters
        ours = {key: settings.pop(key, default) for key, default in _OURS.items() if key not in own}
        self.source = ours.get("source") or path
        if not isinstance(self.source, str):
            raise TypeError(f"register({cls.__name__}, source={self.source!r}): give a text, such as the paper")
        self._stepping: dict[str, Any] = {}
        if not isinstance(elementwise, bool):
            raise TypeError(f"register({cls.__name__}, elementwise={elementwise!r}): give True or False")
        for key in ("search", "choices"):
            if not isinstance(ours.get(key, {}), Mapping):
                raise TypeError(f"register({cls.__name__}, {key}={ours[key]!r}): give a table, by argument")
        self._groups: Callable[[nn.Module], Any] | None = ours.get("groups")
        if self._groups is not None and not callable(self._groups):
            raise TypeError(f"register({cls.__name__}, groups={self._groups!r}): give a function of the module")
        for key in _STEPPING:
            value = ours.get(key)
            if value is not None and not isinstance(value, bool) and (key, value) != ("closure", "with gradients"):
                more = " or 'with gradients'" if key == "closure" else ""
                raise TypeError(f"register({cls.__name__}, {key}={value!r}): give True or False{more}")
            if value is not None:
                self._stepping[key] = value
        self.open_conventions = () if self._is_torchs else tuple(key for key in _STEPPING if ours.get(key, key) is None)
        if not has_modes(cls):
            self.open_conventions = tuple(key for key in self.open_conventions if key != "modes")
        self._arguments = Arguments(cls, settings, ours.get("choices", {}), ours.get("search", {}))
        self.options = self._arguments.options
        self.has_lr = self._arguments.has_lr
        # results from before train() and eval() were called are of other weights
        self.revision = 2 if self._stepping.get("modes", has_modes(cls)) else 1
        self.preconditioned = self._is_torchs and cls.__name__ in step_limits.PRECONDITIONED

    @cached_property
    def identity(self) -> str:  # type: ignore[override]
        """The class, and the digest of the files that define it and its bases."""
        modules = {base.__module__ for base in self.cls.__mro__} - {"builtins", "typing", "abc"}
        digest = hashlib.sha256()
        for module in sorted(name for name in modules if name.partition(".")[0] != "torch"):
            with suppress(OSError, TypeError, AttributeError):
                digest.update(Path(cast(str, sys.modules[module].__file__)).read_bytes())
        return f"{self.cls.__module__}.{self.cls.__qualname__} {digest.hexdigest()[:16]}"

    @property
    def implementation(self) -> str:  # type: ignore[override]
        """The package of the class with its version, and the class."""
        path = f"{self.cls.__module__}.{self.cls.__qualname__}"
        package = package_of(self.cls.__module__)
        return f"{' '.join(package)}, {path}" if package else path

    @cached_property
    def package(self) -> str:  # type: ignore[override]
        """The installed package of the class with its version; empty for torch's own classes."""
        found = package_of(self.cls.__module__)
        return "" if found is None or found[0] in ("torch", "thalweg") else " ".join(found)

    @property
    def conventions(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What ``register`` says of closures, graphs, modes and groups, and a closure that ``step`` demands."""
        told = dict(self._stepping)
        if self._groups is not None:
            told["groups"] = True
        if "closure" in self.open_conventions and demands_closure(self.cls):
            told["closure"] = True
        return told

    @property
    def _is_torchs(self) -> bool:
        return self.cls is getattr(torch.optim, self.cls.__name__, None)

    def stability_limit(self, hyperparameters: Mapping[str, Any]) -> float | None:
        """The limit of the class, where the class is torch's own."""
        arguments = self._arguments.of(hyperparameters)
        return step_limits.stability_limit(self.cls.__name__, arguments) if self._is_torchs else None

    @property
    def description(self) -> str:
        """The first paragraph of the class's own docstring."""
        return inspect.cleandoc(self.cls.__doc__ or "").split("\n\n", 1)[0]

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """The class itself, fused where it can be."""
        make = cast(Any, self.cls)
        arguments = fused_if_possible(self.cls, module) | self._arguments.of(hyperparameters)
        try:
            optimizer = make(self._groups(module) if self._groups else module.parameters(), **arguments)
        except Exception as error:
            if self._is_torchs:
                raise
            said = f"{self.cls.__name__} does not take a network's parameters with these settings ({_line(error)})"
            way = (
                f"register({self.cls.__name__}, groups=lambda module: ...) gives it groups, the module or what it wants"
            )
            raise TypeError(f"{said}: {way}") from error
        return TorchStepper(optimizer, **self._stepping, **context.conventions)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """The class itself on all members, or on a row each where their hyperparameters differ."""
        if self._groups is not None:
            raise NotImplementedError(f"{self.name} is given groups of a network's parameters, not of a stack's")
        if not self.elementwise or len(members) == 1:
            return super().build_stacked(module, members, context)
        if self._stepping or context.conventions or "fused" in self._arguments.of(members[0]):
            raise NotImplementedError(f"{self.name} has no form for members of different hyperparameters")
        return TorchRows(self.cls, module, [self._arguments.of(member) for member in members])


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
