"""Steps plain ``torch.optim.Optimizer`` objects: one on a network, or one on K stacked members."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from thalweg.contracts import step_limits
from thalweg.contracts.objective import Objective
from thalweg.contracts.optimizer import StackedStepper, Stepper, StepReport
from thalweg.contracts.rows import Rows
from thalweg.errors import Diverged

Closure = bool | Literal["with gradients"]
"""Whether ``step`` gets a closure; ``"with gradients"``: it also finds gradients in ``.grad`` when it is called."""

_NEEDS_CLOSURE = ("closure", "'NoneType' object is not callable")
_NEEDS_GRAPH = ("does not require grad", "create_graph", "does not have a grad_fn")


def has_modes(cls: type[torch.optim.Optimizer]) -> bool:
    """Whether a class wants to be told when it trains and when it is evaluated."""
    return all(callable(getattr(cls, name, None)) for name in ("train", "eval"))


def demands_closure(cls: type[torch.optim.Optimizer]) -> bool:
    """Whether ``step`` of a class has an argument ``closure`` without default."""
    named = inspect.signature(cls.step).parameters.get("closure")
    return named is not None and named.default is inspect.Parameter.empty


class TorchStepper(Stepper):
    """Steps a ``torch.optim.Optimizer``.

    The class may want more than gradients:

    - A closure. It gets one if ``step`` has an argument ``closure`` without default. It also gets one if the first step
      fails without: the weights and the state are restored, and the step is repeated with a closure.
    - Calls of ``train()`` before a step and ``eval()`` before an evaluation, if the class has both methods, as
      schedule-free optimizers do.
    - Gradients with their graph. The argument ``create_graph`` asks for them.

    Args:
        optimizer: the optimizer to step.
        closure: whether ``step`` gets a closure; None finds out.
        create_graph: whether gradients keep the graph that they were computed with.
        modes: whether ``train()`` and ``eval()`` are called; None calls them if the class has both.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        closure: Closure | None = None,
        create_graph: bool = False,
        modes: bool | None = None,
    ) -> None:
        self.optimizer = optimizer
        if closure is None:
            closure = True if demands_closure(type(optimizer)) else None
        self._closure = closure
        self._create_graph = create_graph
        self.averages = has_modes(type(optimizer)) if modes is None else modes
        self._trains: bool | None = None
        # the learning rates that the class gave its groups: their ratios are kept
        self._rates = [float(group["lr"]) for group in optimizer.param_groups if group.get("lr") is not None]
        self._leading = next((index for index, rate in enumerate(self._rates) if rate), 0)

    @property
    def lr(self) -> float:
        """The learning rate of the first parameter group whose rate is not zero; setting it scales every group's.

        Groups keep the ratios of rates that they were built with; a rate that is a tensor is filled in place.

        Raises:
            AttributeError: the class has no learning rate.
        """
        return float(self._rated()[self._leading]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        groups = self._rated()
        first = self._rates[self._leading]
        for group, rate in zip(groups, self._rates, strict=True):
            # the product is exact where the factor is one, and the value itself is set where the rates are equal
            own = value if rate == first else rate * (value / first)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(own)
            else:
                group["lr"] = own

    def _rated(self) -> list[dict[str, Any]]:
        if not self._rates:
            raise AttributeError(f"{type(self.optimizer).__name__} has no learning rate 'lr' in its parameter groups")
        groups = [group for group in self.optimizer.param_groups if group.get("lr") is not None]
        if len(groups) != len(self._rates):
            raise ValueError(
                f"{type(self.optimizer).__name__} has {len(groups)} parameter groups with a rate and was built with "
                f"{len(self._rates)}, so the ratios of their rates are not known: make all groups in the constructor"
            )
        return groups

    def rates(self, parameters: Sequence[nn.Parameter]) -> list[float]:
        """Each parameter's own learning rate: its group's."""
        found = {id(p): float(group["lr"]) for group in self._rated() for p in group["params"]}
        lr = self.lr
        return [found.get(id(parameter), lr) for parameter in parameters]

    def step(self, objective: Objective) -> StepReport:
        """One ``optimizer.step``, on the gradient of the current batch."""
        if self.averages and self._trains is not True:
            self._set_mode(training=True)
        if self._closure is False and not self._create_graph:
            objective.backward()
            self.optimizer.step()
            return StepReport()
        if self._closure is None:
            self._first_step(objective)
        else:
            self._step(objective, self._closure)
        if self._create_graph:
            for parameter in objective.parameters:
                parameter.grad = None  # a gradient with its graph holds itself in memory
        return StepReport()

    def _step(self, objective: Objective, closure: Closure) -> None:
        if closure is not True:
            objective.backward(self._create_graph)
        if not closure:
            self.optimizer.step()
            return
        backward = functools.partial(objective.backward, self._create_graph)
        try:
            self.optimizer.step(backward)  # type: ignore[arg-type]
        except RuntimeError as error:
            if "without overflow" not in str(error):
                raise
            raise Diverged("a step's length is no number any more") from error
        except IndexError as error:
            # torch's line search looks for the lower end of a bracket whose only loss is nan
            if not isinstance(self.optimizer, torch.optim.LBFGS):
                raise
            raise Diverged("the line search met a loss that is no number") from error

    def _first_step(self, objective: Objective) -> None:
        """The step that shows whether the class needs a closure."""
        name = type(self.optimizer).__name__
        if type(self.optimizer).__module__.startswith("torch.optim."):
            self._closure = False
            self._step(objective, False)
            return
        weights = [parameter.detach().clone() for parameter in objective.parameters]
        state, groups = copy.deepcopy(dict(self.optimizer.state)), copy.deepcopy(_settings(self.optimizer))
        counted = copy.copy(objective.counts)
        try:
            self._step(objective, False)
            self._closure = False
        except Exception as error:
            if any(sign in str(error) for sign in _NEEDS_GRAPH) and not self._create_graph:
                hint = f"register({name}, create_graph=True) gives it gradients with their graph"
                raise TypeError(f"{name} differentiates its gradients: {hint} ({_line(error)})") from error
            if not any(sign in str(error) for sign in _NEEDS_CLOSURE):
                raise
            with torch.no_grad():
                for parameter, before in zip(objective.parameters, weights, strict=True):
                    parameter.copy_(before)
                    parameter.grad = None
            self.optimizer.state.clear()
            self.optimizer.state.update(state)
            for group, setting in zip(self.optimizer.param_groups, groups, strict=True):
                group.update(setting)
            for count, value in asdict(counted).items():
                setattr(objective.counts, count, value)
            self._closure = True
            try:
                self._step(objective, True)
            except (AttributeError, TypeError) as second:
                hint = f"register({name}, closure='with gradients') calls step with gradients in place and a closure"
                raise TypeError(f"{name} fails with a closure and without: {hint} ({_line(second)})") from second

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """While active, the weights of ``optimizer.eval()``, if the class has modes; then the training weights."""
        if not self.averages or not self._stepped:
            yield
            return
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        training = [parameter.detach().clone() for parameter in parameters]
        try:
            self._set_mode(training=False)
            yield
        finally:
            self._set_mode(training=True)
            with torch.no_grad():
                for parameter, before in zip(parameters, training, strict=True):
                    parameter.copy_(before)

    @property
    def _stepped(self) -> bool:
        """Whether there is a state that modes could look at."""
        return bool(self.optimizer.state)

    def _set_mode(self, training: bool) -> None:
        modal: Any = self.optimizer
        name = type(modal).__name__
        with torch.no_grad():
            try:
                (modal.train if training else modal.eval)()
            except TypeError as error:
                hint = f"register({name}, modes=False) leaves both alone"
                raise TypeError(f"{name}: train() or eval() cannot be called: {hint} ({_line(error)})") from error
        self._trains = training

    def state_dict(self) -> dict[str, Any]:
        """Torch's own state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load torch's own state."""
        load_state(self.optimizer, state)
        self._trains = None

    def preconditioner(self) -> list[Tensor] | None:
        """The preconditioner of torch's adaptive methods; see ``thalweg.contracts.step_limits``."""
        return step_limits.preconditioner(self.optimizer)

    def __deepcopy__(self, memo: dict[int, Any]) -> TorchStepper:
        """A copy with every attribute. torch's own copy leaves out attributes that a class adds."""
        made = object.__new__(type(self))
        memo[id(self)] = made
        optimizer = memo[id(self.optimizer)] = object.__new__(type(self.optimizer))
        vars(optimizer).update(copy.deepcopy(vars(self.optimizer), memo))
        vars(made).update(copy.deepcopy(vars(self), memo))
        return made


def _settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Each group's settings, without its parameters."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load torch's own state without conversions.

    torch converts loaded tensors to the parameters' precision and rebuilds every iterable. Then a product of momenta
    that NAdam keeps in float32, a list of tensors, or a text changes. A class that overrides ``load_state_dict``
    decides itself what is loaded; only the precision of tensors is restored afterwards.
    """
    optimizer.load_state_dict(state)
    own = type(optimizer).load_state_dict is not torch.optim.Optimizer.load_state_dict
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    indices = [index for group in state["param_groups"] for index in group["params"]]
    for parameter, index in zip(parameters, indices, strict=True):
        if index not in state["state"]:
            continue
        saved = state["state"][index]
        if not own:
            optimizer.state[parameter] = copy.deepcopy(saved)
            continue
        for key, value in saved.items():
            loaded = optimizer.state[parameter].get(key)
            if isinstance(value, Tensor) and isinstance(loaded, Tensor):
                optimizer.state[parameter][key] = loaded.to(value.dtype)


class TorchRows(StackedStepper):
    """Steps an elementwise ``torch.optim.Optimizer`` on K stacked members, each a parameter group of one row of
    numbers.

    Args:
        cls: the class.
        module: the module that trains; its parameters have shape (K, ...).
        members: the arguments of the class for each of the K members.
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
        weights, gradients = self._rows.live()
        for member, row, gradient in zip(self._members, weights, gradients, strict=True):
            member.data, member.grad = row, gradient
        self.optimizer.step()
        for member, row in zip(self._members, weights, strict=True):
            if member.data_ptr() != row.data_ptr():  # the class has replaced the tensor
                row.copy_(member.detach())
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
    if any(getattr(part, "sparse", False) for part in module.modules()):  # embeddings, whose gradients are sparse
        return {}
    parameters = list(module.parameters())
    device_types = {parameter.device.type for parameter in parameters}
    # complex numbers have no fused kernels
    fits = device_types <= {"cpu", "cuda", "mps"} and all(parameter.is_floating_point() for parameter in parameters)
    return {"fused": True} if fits else {}
