"""Steps plain ``torch.optim.Optimizer`` objects: one on a network, or one on K stacked members."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from thalweg.contracts import stability
from thalweg.contracts.objective import Objective
from thalweg.contracts.optimizer import StackedStepper, Stepper, StepReport
from thalweg.contracts.rows import Rows
from thalweg.errors import Diverged


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
