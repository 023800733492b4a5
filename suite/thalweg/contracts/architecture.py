"""An architecture builds an ``nn.Module`` for a problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thalweg.contracts.component import Component

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Shape:
    """What a problem feeds into a module and wants out of it, without the batch dimension.

    ``task`` is ``"classification"`` (output: one logit a class), ``"regression"`` (output: one number a target) or
    ``"function"`` (no input; output: the vector of parameters at which an analytic function is evaluated).
    """

    task: Literal["classification", "regression", "function"]
    input: tuple[int, ...]
    output: tuple[int, ...]


class Architecture(Component, ABC):
    """Builds a module. A plugin subclasses this and registers the class.

    >>> class Flat(Architecture):
    ...     name, summary = "flat", "one linear layer on the flattened input"
    ...     def build(self, options, shape):
    ...         from math import prod
    ...         from torch import nn
    ...         return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape.input), prod(shape.output)))
    """

    kind: ClassVar[str] = "architecture"
    draws_in_forward: bool = False
    """Whether ``forward`` draws random numbers (dropout): each step then repeats its draws at every evaluation."""

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Why this architecture does not fit that shape, as the end of a sentence; None when it fits."""
        if shape.task == "function":
            return "it takes examples, and this problem is an analytic function: use the architecture 'point'"
        return None

    @abstractmethod
    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """A freshly initialised module. Random numbers come from torch's global generator, seeded by the caller."""
