"""An optimizer builds a stepper for a module, with declared hyperparameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg.contracts.component import Component
from thalweg.contracts.option import Hyperparameter

if TYPE_CHECKING:
    from torch import nn

    from thalweg.contracts.objective import Objective


@dataclass(frozen=True)
class BuildContext:
    """What a stepper may want to know: the seed for its own randomness, and the training split's size in examples."""

    seed: int
    examples: int
    batch_size: int


@dataclass(slots=True)
class StepReport:
    """What a step tells besides the loss (damping, trust ratio, fallback taken): curve rows of split ``optimizer``."""

    info: dict[str, float] = field(default_factory=dict)


class Stepper(ABC):
    """An optimizer at work on one module."""

    lr: float

    @abstractmethod
    def step(self, objective: Objective) -> StepReport:
        """Change the module's parameters once. Within a step every evaluation of ``objective`` sees the same batch."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on besides the parameters."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state: the steps that follow are those of the stepper it was taken from."""

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """While active, the module holds the weights to be evaluated (averaging methods swap them in here)."""
        yield


class Optimizer(Component, ABC):
    """Builds steppers. ``options`` holds its hyperparameters.

    Any ``torch.optim.Optimizer`` class can be registered as it is; subclass this for methods that need more: several
    evaluations a step, curvature products, hooks on layers.
    """

    kind: ClassVar[str] = "optimizer"
    options: tuple[Hyperparameter, ...] = ()
    elementwise: bool = False
    """Whether each weight's update uses that weight's gradients and state only: then seeds can be batched."""

    @abstractmethod
    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper for ``module``; ``hyperparameters`` holds a checked value for every declared name."""
