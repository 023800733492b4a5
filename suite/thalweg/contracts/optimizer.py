"""An optimizer builds a stepper for a module, with declared hyperparameters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg.contracts.component import Component
from thalweg.contracts.option import Hyperparameter

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thalweg.contracts.architecture import Shape
    from thalweg.contracts.objective import Objective


@dataclass(frozen=True)
class BuildContext:
    """Facts about the training that a stepper is built for.

    >>> BuildContext(seed=0, examples=1000, batch_size=50, steps=200).steps
    200
    """

    seed: int
    """Seeds the random numbers that the stepper draws."""
    examples: int
    """Examples in the training split."""
    batch_size: int
    """Examples in a batch."""
    steps: int | None = None
    """Steps in the budget, for a decay over the training; None where the budget is not in epochs or steps."""
    conventions: Mapping[str, Any] = field(default_factory=dict)
    """What thalweg found out about the class at its first run; see ``Optimizer.open_conventions``."""


@dataclass(slots=True)
class StepReport:
    """Numbers that a step reports besides the loss, such as the damping: rows of the curve with split ``optimizer``."""

    info: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class StackedReport(StepReport):
    """What a step of K members reports. ``info`` holds for every member."""

    of_each: list[dict[str, float]] = field(default_factory=list)
    """Numbers of each member."""


class Stepper(ABC):
    """An optimizer at work on one module."""

    lr: float
    averages: bool = False
    """Whether ``evaluation_weights`` differ from the weights that train; batch norm is then estimated anew."""

    def rates(self, parameters: Sequence[nn.Parameter]) -> list[float]:
        """Each parameter's own learning rate, where they differ."""
        return [self.lr] * len(parameters)

    @abstractmethod
    def step(self, objective: Objective) -> StepReport:
        """Change the module's parameters once. Within a step every evaluation of ``objective`` sees the same batch."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on besides the parameters."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state: the next steps are the steps that the saved stepper would have made."""

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """While active, the module holds the weights to be evaluated (averaging methods swap them in here)."""
        yield

    def project(self, project: Callable[[], None]) -> None:
        """Put the weights back into the problem's domain: ``project`` does so with the module's.

        A stepper that keeps other weights than the module's puts each of them in and calls it.
        """
        project()

    def preconditioner(self) -> list[Tensor] | None:
        """The diagonal P that divided the last step, one tensor for each trained parameter; None without such a P.

        The step was -lr P^-1 m, with m the gradient or a momentum of gradients. Bias corrections belong to P.
        """
        return None

    def state_bytes(self) -> int:
        """Memory of the state between two steps, in bytes: tensors and arrays in ``state_dict``, each byte once.

        Views that lie in one stretch of memory count as their sizes together, at most the stretch.
        """
        total, stretches = 0, list[tuple[int, int, int]]()
        for each in _arrays(self.state_dict(), {}):
            size, place = _memory(each)
            if place is None:
                total += size
            else:
                stretches.append((*place, size))
        end, size = 0, 0
        begin = 0
        for low, high, own in sorted(stretches):
            if low >= end:
                total += min(size, end - begin)
                begin, end, size = low, high, 0
            end, size = max(end, high), size + own
        return total + min(size, end - begin)


def _memory(array: Any) -> tuple[int, tuple[int, int] | None]:
    """The bytes of an array's numbers, and the addresses where they begin and end; None where nothing tells them."""
    if hasattr(array, "untyped_storage"):
        address, width = array.data_ptr(), array.element_size()
        strides = [stride * width for stride in array.stride()]
    elif hasattr(array, "__array_interface__") and all(stride >= 0 for stride in array.strides):
        address, width, strides = array.__array_interface__["data"][0], array.itemsize, list(array.strides)
    else:
        return int(array.nbytes), None
    # a dimension of stride 0 repeats the same numbers
    rows = [(size, stride) for size, stride in zip(array.shape, strides, strict=True) if stride or not size]
    held = int(math.prod(size for size, _ in rows) * width)
    if not address or not held:
        return held, None
    return held, (address, address + width + sum((size - 1) * stride for size, stride in rows))


def _arrays(value: Any, seen: dict[int, Any]) -> Iterator[Any]:
    """All dense tensors and arrays that a value is made of, each once, also in the attributes of objects.

    ``seen`` keeps what was met alive, since Python gives the identity of a dead object to another one.
    """
    if id(value) in seen or isinstance(value, _WITHOUT) or hasattr(value, "named_parameters"):
        return
    seen[id(value)] = value
    parts: Iterable[Any]
    if hasattr(value, "__tensor_flatten__"):
        # made of other tensors, such as codes of 8 bits with their scales; it claims a precision that it lacks
        parts = [getattr(value, name) for name in value.__tensor_flatten__()[0]]
    elif names := _SPARSE.get(str(getattr(value, "layout", ""))):
        parts = [getattr(value, name)() for name in names]
    elif getattr(value, "is_nested", False):
        parts = value.unbind()
    elif hasattr(value, "nbytes"):
        yield value
        return
    else:
        own = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in _slots(value))]
        items = value.values() if isinstance(value, Mapping) else value if isinstance(value, Collection) else ()
        # an object may know the network and its weights, which are no state
        parts = [*items, *(one for one in own if not getattr(one, "requires_grad", False))]
    for part in parts:
        yield from _arrays(part, seen)


def _slots(value: Any) -> Iterator[str]:
    for kind in type(value).__mro__:
        names = vars(kind).get("__slots__", ())
        yield from [names] if isinstance(names, str) else names


_WITHOUT = (str, bytes, int, float, complex, range, type(None), type, ModuleType, FunctionType, BuiltinFunctionType)
"""Values without tensors, or whose tensors are no state."""
_COMPRESSED = {"row": ("crow_indices", "col_indices", "values"), "column": ("ccol_indices", "row_indices", "values")}
_SPARSE = {
    "torch.sparse_coo": ("_indices", "_values"),
    "torch.sparse_csr": _COMPRESSED["row"],
    "torch.sparse_bsr": _COMPRESSED["row"],
    "torch.sparse_csc": _COMPRESSED["column"],
    "torch.sparse_bsc": _COMPRESSED["column"],
}
"""The methods that give what a sparse tensor is made of, by its layout."""


class StackedStepper(Stepper):
    """An optimizer at work on K members at once: every parameter of the module has a leading dimension of K.

    The loss that ``step`` sees is the sum of the members' losses, so that its gradient is the stack of theirs.
    """

    lrs: list[float]
    """The K learning rates; can be set, as schedules do."""

    @property
    def lr(self) -> float:
        """The first member's learning rate; setting it sets every member's."""
        return self.lrs[0]

    @lr.setter
    def lr(self, value: float) -> None:
        self.lrs = [value] * len(self.lrs)

    def member_bytes(self, member: int) -> int | None:
        """The bytes that the state of the member's own stepper would have by now.

        None where the state no longer grows after the first step: then a step of the member's own stepper shows them.
        """
        return None


def alike(members: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all members have the same hyperparameters."""
    return all(dict(member) == dict(members[0]) for member in members)


class Alike(StackedStepper):
    """Members that share their hyperparameters: an elementwise rule does not know where one ends."""

    def __init__(self, stepper: Stepper, members: int) -> None:
        self.stepper = stepper
        self._members = members

    @property
    def lrs(self) -> list[float]:
        """The one learning rate K times; ValueError where different rates are set."""
        return [self.stepper.lr] * self._members

    @lrs.setter
    def lrs(self, values: list[float]) -> None:
        if len(set(values)) != 1:
            raise ValueError(f"these members share one learning rate and got {values}")
        self.stepper.lr = values[0]

    def step(self, objective: Objective) -> StepReport:
        """One step of the inner stepper.

        Raises:
            NotImplementedError: the step reports numbers. They are numbers of all members together.
        """
        report = self.stepper.step(objective)
        if report.info:
            raise NotImplementedError("the optimizer tells numbers of its steps")
        return report

    def state_dict(self) -> dict[str, Any]:
        """The state of the inner stepper."""
        return self.stepper.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state into the inner stepper."""
        self.stepper.load_state_dict(state)

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """The evaluation weights of the inner stepper."""
        with self.stepper.evaluation_weights():
            yield

    def project(self, project: Callable[[], None]) -> None:
        """Project the weights of the inner stepper."""
        self.stepper.project(project)


class Optimizer(Component, ABC):
    """Builds steppers. ``options`` holds its hyperparameters.

    Any ``torch.optim.Optimizer`` class can be registered without a subclass. Subclass this for methods that need
    several evaluations a step, curvature products or hooks on layers.
    """

    kind: ClassVar[str] = "optimizer"
    options: tuple[Hyperparameter, ...] = ()
    elementwise: bool = False
    """Whether each weight's update uses that weight's gradients and state only: then seeds can be batched."""
    stacks: bool = False
    """Whether ``build_stacked`` makes the steps of K members although the optimizer is not elementwise."""
    other_rates: tuple[str, ...] = ()
    """Hyperparameters that are learning rates too, of parameters that ``lr`` does not move."""
    has_lr: bool = True
    """Whether there is a learning rate, ``lr``, which is tuned, follows a schedule, and scales decoupled decay."""
    takes_any_gradient: bool = True
    """Whether the gradient may be clipped. A line search needs the gradient of the loss itself."""
    takes_decoupled_decay: bool = True
    """Whether weights may be decayed beside the step; not where the stepper keeps the weights that count to itself."""
    preconditioned: bool = False
    """Whether ``stability_limit`` is one of the curvature that its steppers' ``preconditioner`` leaves."""
    open_conventions: tuple[str, ...] = ()
    """Conventions of a foreign class that thalweg finds out at the first run: ``closure``, ``create_graph``, ``modes``.

    ``build`` gets those that differ from a plain class's in ``BuildContext.conventions``.
    """
    conventions: Mapping[str, Any] = {}
    """Conventions that are known without a run, such as ``{"closure": True}``: shown to users, never asked for."""
    implementation: str = ""
    """The foreign class, with its package and version."""
    package: str = ""
    """The installed package of a foreign class, with its version: part of a trial's hash, as another version may train
    otherwise. Empty for classes of torch and of the plugin itself, whose ``revision`` counts."""
    identity: str = ""
    """Names the foreign class and its version: with another identity, conventions are found out anew."""
    cost: str = ""
    """The cost of a step in words: gradient evaluations, curvature products, factor inversions, and state."""

    def misfit(self, hyperparameters: Mapping[str, Any], shape: Shape) -> str | None:
        """Why the optimizer cannot train a problem of this shape; None where it can. Asked before anything trains."""
        return None

    def stability_limit(self, hyperparameters: Mapping[str, Any]) -> float | None:
        """lr times the largest curvature at which full-batch steps on a quadratic stop being stable; None if not known.

        The curvature is the largest eigenvalue of the Hessian H of the loss without the optimizer's own weight decay.
        Where ``preconditioned``, it is the largest eigenvalue of P^-1/2 H P^-1/2, with the present preconditioner P.

        Args:
            hyperparameters: all hyperparameters, with the present learning rate as ``lr``.
        """
        return None

    @abstractmethod
    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper for ``module``; ``hyperparameters`` holds a checked value for every declared name.

        Raises:
            UserError: the method cannot train this module, and why.
        """

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """A stepper for K members at once. Elementwise optimizers have one, and optimizers that declare ``stacks``.

        Parameters of ``module`` have shape (K, 1, ...) where ``members`` has K entries, one for each member. They have
        shape (D, m, ...) where ``members`` has D < K entries, each of which m neighbours share. The steps must be those
        of K steppers, one for each member. The bits of a member's steps must not depend on other members. ``module`` is
        a ``thalweg.contracts.stacked.StackedNetwork``. A ``StackedReport`` of a step tells
        numbers of each member; the numbers of another report hold for every member.

        Raises:
            NotImplementedError: the members' hyperparameters differ, and this method has no form for that.
        """
        if not self.elementwise:
            raise NotImplementedError(f"{self.name} is not elementwise, so its members train one at a time")
        if not alike(members):
            raise NotImplementedError(f"{self.name} has no form for members of different hyperparameters")
        return Alike(self.build(module, members[0], context), len(members))
