"""An architecture builds an ``nn.Module`` for a problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thalweg.contracts.component import Component

if TYPE_CHECKING:
    from torch import nn


Task = Literal["classification", "regression", "autoencoding", "language", "function"]


@dataclass(frozen=True)
class Shape:
    """The shapes of a module's input and output for a problem, without the batch dimension.

    ``task`` is one of

    - ``"classification"``: input of any shape; output (C,), one logit a class;
    - ``"regression"``: input of any shape; output (K,), one number a target;
    - ``"autoencoding"``: input (D,) in [0, 1]; output (D,), one logit an input;
    - ``"language"``: input (T,), indices of tokens; output (T, V), a logit for each possible next token;
    - ``"function"``: no input; output (D,), the vector of parameters at which a function is evaluated.

    Images are (channels, height, width), sequences (channels, length).
    """

    task: Task
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
    tasks: tuple[Task, ...] = ("classification", "regression", "autoencoding")
    """What it can be used for; ``misfit`` refuses the rest."""

    def draws_in_forward(self, options: Mapping[str, Any]) -> bool:
        """Whether ``forward`` draws random numbers (dropout): each step then repeats its draws at every evaluation."""
        return False

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Why this architecture does not fit that shape, as the end of a sentence; None when it fits."""
        if shape.task in self.tasks:
            return None
        if shape.task == "function":
            return "it takes examples, and this problem is an analytic function: use the architecture 'point'"
        if shape.task == "language":
            return "it takes numbers, and this problem gives sequences of tokens"
        if self.tasks == ("language",):
            return "it takes sequences of tokens, and this problem gives numbers"
        return f"it is for {' and '.join(self.tasks)}, and this problem is {shape.task}"

    @abstractmethod
    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """A freshly initialised module. Random numbers come from torch's global generator, seeded by the caller."""
