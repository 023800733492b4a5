"""Turns a plain ``torch.optim.Optimizer`` class into an Optimizer of ours."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from thalweg.contracts import stability
from thalweg.contracts.component import RESERVED
from thalweg.contracts.optimizer import BuildContext, Optimizer, StackedStepper, Stepper
from thalweg.contracts.option import Hyperparameter, Search
from thalweg.contracts.torch_stepper import TorchRows, TorchStepper, fused_if_possible

_IMPLEMENTATION = {"params", "foreach", "fused", "maximize", "capturable", "differentiable"}
"""Arguments of torch's optimizers that choose an implementation or a sign and are no hyperparameters."""


class TorchOptimizer(Optimizer):
    """A ``torch.optim.Optimizer`` class as it is: its own defaults, and a search range on ``lr`` only.

    Numbers and booleans among the arguments become hyperparameters, tuples one each (``betas`` becomes ``beta1`` and
    ``beta2``). An argument without default takes it from ``defaults``; anything else given there is passed on as it is.
    ``elementwise=True`` says that a weight's update uses that weight's gradients and state only, and that settings are
    read from the parameter groups: then seeds can be batched. An argument whose name means something else in benchmark
    files (``decoupled_weight_decay``) is no hyperparameter and keeps its default, or what ``defaults`` says.
    """

    def __init__(
        self,
        cls: type[torch.optim.Optimizer],
        name: str | None = None,
        summary: str = "",
        elementwise: bool = False,
        **defaults: Any,
    ) -> None:
        self.cls = cls
        self.elementwise = elementwise
        self.name = name or cls.__name__.lower()
        self.source = f"{cls.__module__}.{cls.__qualname__}"
        # the class's own docstring, not one that it inherits from torch
        self.summary = summary or inspect.cleandoc(cls.__doc__ or "").split("\n", 1)[0] or self.source
        self._tuples: dict[str, list[str]] = {}
        self._fixed: dict[str, Any] = {}
        options: list[Hyperparameter] = []
        parameters = inspect.signature(cls).parameters
        accepted = [p.name for p in parameters.values() if p.name not in _IMPLEMENTATION]
        for key in defaults:
            if key not in accepted:
                raise TypeError(f"{cls.__name__} has no argument {key!r}; it has: {', '.join(accepted)}")
        for parameter in list(parameters.values())[1:]:
            if parameter.name in _IMPLEMENTATION or parameter.kind in (
                inspect.Parameter.VAR_POSITIONAL,
                inspect.Parameter.VAR_KEYWORD,
            ):
                continue
            default = defaults.get(parameter.name, parameter.default)
            if default is inspect.Parameter.empty:
                raise TypeError(
                    f"argument {parameter.name!r} of {cls.__name__} has no default: "
                    f"give one with register({cls.__name__}, {parameter.name}=...)"
                )
            given = parameter.name in defaults
            if parameter.name not in RESERVED:
                options += self._hyperparameters(parameter.name, default, given)
            elif given:
                self._fixed[parameter.name] = default
        self.options = tuple(options)
        self.preconditioned = self._is_torchs and cls.__name__ in stability.PRECONDITIONED

    @property
    def _is_torchs(self) -> bool:
        return self.cls is getattr(torch.optim, self.cls.__name__, None)

    def stability_limit(self, hyperparameters: Mapping[str, Any]) -> float | None:
        """That of the class, where it is one of torch's own."""
        return (
            stability.stability_limit(self.cls.__name__, self._arguments(hyperparameters)) if self._is_torchs else None
        )

    @property
    def description(self) -> str:
        """The first paragraph of the class's own docstring."""
        return inspect.cleandoc(self.cls.__doc__ or "").split("\n\n", 1)[0]

    def _hyperparameters(self, name: str, default: Any, given: bool) -> list[Hyperparameter]:
        if isinstance(default, tuple) and all(isinstance(item, int | float) for item in default):
            singular = name.removesuffix("s")
            self._tuples[name] = [f"{singular}{index}" for index in range(1, len(default) + 1)]
            return [Hyperparameter(key, float(item)) for key, item in zip(self._tuples[name], default, strict=True)]
        if name == "lr" and default is None:
            cls = self.cls.__name__
            raise TypeError(f"argument 'lr' of {cls} has no default: give one with register({cls}, lr=...)")
        if name == "lr":
            return [Hyperparameter("lr", float(default), allowed="(0, inf)", search=Search(1e-4, 1.0))]
        if isinstance(default, bool | float):
            return [Hyperparameter(name, default)]
        if isinstance(default, int):
            # torch writes `weight_decay: float = 0`: a whole default of an argument that takes any number
            annotation = str(inspect.signature(self.cls).parameters[name].annotation)
            return [Hyperparameter(name, float(default) if "float" in annotation else default)]
        if given:
            self._fixed[name] = default
        return []

    def _arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        arguments = {**self._fixed, **hyperparameters}
        for name, keys in self._tuples.items():
            arguments[name] = tuple(arguments.pop(key) for key in keys)
        return arguments

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """The class itself, fused where it can be."""
        make = cast(Any, self.cls)
        arguments = self._arguments(hyperparameters)
        return TorchStepper(make(module.parameters(), **arguments, **fused_if_possible(self.cls, module)))

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """The class itself on all members, or on a row each where their hyperparameters differ."""
        if not self.elementwise or len(members) == 1:
            return super().build_stacked(module, members, context)
        return TorchRows(self.cls, module, [self._arguments(member) for member in members])
