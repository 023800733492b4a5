"""What an elementwise rule computes. Does not import torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


class UpdateRule(ABC):
    """An update that treats every weight alike, written once for one network and for K members of different settings.

    A subclass names its ``slots`` and writes ``update``. There all weights of a network are one vector (P,), and the
    weights of K members are (K, P). A number is a float for one network, and (K, 1) for K members.
    """

    preconditioned: bool = False
    """Whether ``divisor`` tells what the last step divided by."""
    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state, each shaped as the weights and zero at first, unless ``start`` says otherwise."""
    evaluated: ClassVar[str] = ""
    """The slot that holds the weights to be evaluated, where these are not the ones that train."""
    placed: ClassVar[tuple[str, ...]] = ()
    """Slots that hold weights, which belong into a problem's domain."""

    def numbers(self, h: Mapping[str, Any], t: int, kept: dict[str, float]) -> dict[str, float]:
        """One member's numbers at step t = 1, 2, ...: its hyperparameters, and what is computed from them.

        ``kept`` is empty at first and lives from step to step: for sums over the steps.
        """
        return dict(h)

    def start(self, w: Tensor) -> dict[str, Tensor]:
        """The state before the first step, at weights w."""
        return {name: w.new_zeros(w.shape) for name in self.slots}

    @abstractmethod
    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The new weights from the old ones and their gradient; replaces slots of ``s``, with the numbers ``c``."""

    def divisor(self, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """What the last step divided a momentum of gradients by, where the rule is ``preconditioned``."""
        raise NotImplementedError
