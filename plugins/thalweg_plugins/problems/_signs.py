"""The squared error for labels +1 and -1. Imports torch, so it is imported only when data is loaded."""

from __future__ import annotations

from torch import Tensor

from thalweg.contracts.losses import SquaredError


class SignSquaredError(SquaredError):
    """l(z, y) = (z - y)^2 for outputs (N, 1) and targets y = +1 or -1; the class is the output's sign."""

    def __init__(self) -> None:
        super().__init__(weight=1.0)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: 1 where z and y have the same sign; an output of zero is wrong."""
        return {"accuracy": (outputs.sign() == targets).flatten(1).all(1)}
