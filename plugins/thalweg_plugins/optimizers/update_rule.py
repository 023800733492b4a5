"""The interface of elementwise rules. Does not import torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


class UpdateRule(ABC):
    """An elementwise update, written once for one network and for K members with different hyperparameters.

    A subclass names its ``slots`` and writes ``update``. In ``update`` the weights of one network are a vector (P,),
    and the weights of K members are (K, P). A number is a float for one network, and (K, 1) for K members.
    """

    preconditioned: bool = False
    """Whether the rule has a ``divisor``."""
    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state's tensors. Each has the weights' shape, and is zero at first unless ``start`` differs."""
    evaluated: ClassVar[str] = ""
    """The slot with the weights to evaluate, where they differ from the weights that train."""
    placed: ClassVar[tuple[str, ...]] = ()
    """Slots that hold weights, which are projected onto a problem's domain."""

    def numbers(self, h: Mapping[str, Any], t: int, kept: dict[str, float]) -> dict[str, float]:
        """One member's hyperparameters, and numbers computed from them, at step t = 1, 2, ...

        ``kept`` is empty at first and lasts from step to step, for sums over steps.
        """
        return dict(h)

    def start(self, w: Tensor) -> dict[str, Tensor]:
        """The state before the first step, at weights w."""
        return {name: w.new_zeros(w.shape) for name in self.slots}

    @abstractmethod
    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The new weights, from weights ``w``, gradient ``g``, slots ``s`` and numbers ``c``. Updates the slots."""

    def divisor(self, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The divisor of the momentum in the last step; only for rules that are ``preconditioned``."""
        raise NotImplementedError
