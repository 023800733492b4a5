"""Turns a plain ``torch.optim.Optimizer`` class into an Optimizer of ours."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from thalweg.contracts import stability
from thalweg.contracts.component import RESERVED
from thalweg.contracts.objective import Objective
from thalweg.contracts.optimizer import BuildContext, Optimizer, StackedStepper, Stepper, StepReport, alike
from thalweg.contracts.option import Hyperparameter, Search
from thalweg.contracts.rows import Rows
from thalweg.errors import Diverged

_IMPLEMENTATION = {"params", "foreach", "fused", "maximize", "capturable", "differentiable"}
"""Arguments of torch's optimizers that choose an implementation or a sign and are no hyperparameters."""


class TorchStepper(Stepper):
    """Steps a ``torch.optim.Optimizer``, with a closure where its ``step`` requires one."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        self._wants_closure = closure is not None and closure.default is inspect.Parameter.empty

    @property
    def lr(self) -> float:
        """The learning rate of the first parameter group; setting it sets every group's."""
        return float(self.optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = value

    def step(self, objective: Objective) -> StepReport:
        """One ``optimizer.step``, on the gradient of the current batch."""
        if self._wants_closure:
            try:
                self.optimizer.step(objective.backward)  # type: ignore[arg-type]
            except RuntimeError as error:
                if "without overflow" not in str(error):
                    raise
                raise Diverged("a step's length is no number any more") from error
        else:
            objective.backward()
            self.optimizer.step()
        return StepReport()

    def state_dict(self) -> dict[str, Any]:
        """Torch's own state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load torch's own state."""
        load_state(self.optimizer, state)

    def preconditioner(self) -> list[Tensor] | None:
        """That of torch's adaptive methods; see ``thalweg.contracts.stability``."""
        return stability.preconditioner(self.optimizer)

    def __deepcopy__(self, memo: dict[int, Any]) -> TorchStepper:
        """A copy with every attribute: torch's own way leaves those out that a class adds."""
        made = object.__new__(type(self))
        memo[id(self)] = made
        optimizer = memo[id(self.optimizer)] = object.__new__(type(self.optimizer))
        vars(optimizer).update(copy.deepcopy(vars(self.optimizer), memo))
        vars(made).update(copy.deepcopy(vars(self), memo))
        return made


def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load torch's own state with the dtypes that it has: torch casts to the parameters' what it keeps in another.

    (The product of momenta in NAdam is float32 whatever the parameters are.)
    """
    optimizer.load_state_dict(state)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    indices = [index for group in state["param_groups"] for index in group["params"]]
    for parameter, index in zip(parameters, indices, strict=True):
        for key, value in state["state"].get(index, {}).items():
            if isinstance(value, torch.Tensor):
                loaded = optimizer.state[parameter][key]
                optimizer.state[parameter][key] = loaded.to(value.dtype)


class TorchRows(StackedStepper):
    """Steps an elementwise ``torch.optim.Optimizer`` on K stacked members, each a row of numbers in a group of its own.

    Args:
        cls: the class.
        module: what is trained; its parameters have shape (K, ...).
        members: the class's arguments, K times.
    """

    def __init__(
        self, cls: type[torch.optim.Optimizer], module: nn.Module, members: Sequence[Mapping[str, Any]]
    ) -> None:
        self._rows = Rows(module.parameters(), len(members))
        self._members = [nn.Parameter(row) for row in self._rows.weights()]
        groups = [{"params": [row], **member} for row, member in zip(self._members, members, strict=True)]
        make = cast(Any, cls)
        self.optimizer: torch.optim.Optimizer = make(groups, **members[0], **fused_if_possible(cls, module))

    @property
    def lrs(self) -> list[float]:
        """The groups' learning rates."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    @lrs.setter
    def lrs(self, values: list[float]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            group["lr"] = value

    def step(self, objective: Objective) -> StepReport:
        """One ``optimizer.step`` for all members, on the gradient of the current batch."""
        objective.backward()
        weights = self._rows.weights()
        for member, row, gradient in zip(self._members, weights, self._rows.gradients(), strict=True):
            member.data, member.grad = row, gradient
        self.optimizer.step()
        self._rows.write(weights)
        return StepReport()

    def state_dict(self) -> dict[str, Any]:
        """Torch's own state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load torch's own state."""
        load_state(self.optimizer, state)


def fused_if_possible(cls: type[torch.optim.Optimizer], module: nn.Module) -> dict[str, bool]:
    """``{"fused": True}`` where torch has a fused implementation of the class for this module's device."""
    if not cls.__module__.startswith("torch.optim") or "fused" not in inspect.signature(cls.__init__).parameters:
        return {}
    device_types = {parameter.device.type for parameter in module.parameters()}
    return {"fused": True} if device_types <= {"cpu", "cuda", "mps"} else {}


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
        if not self.elementwise or alike(members):
            return super().build_stacked(module, members, context)
        return TorchRows(self.cls, module, [self._arguments(member) for member in members])
