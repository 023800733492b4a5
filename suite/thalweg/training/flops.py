"""Counts floating-point operations by torch's formulas, without an import of torch's compiler."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


class Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, adds up the operations in matrix products, convolutions and attention.

    A multiplication with an addition counts as two operations. The formulas are those of ``FlopCounterMode``, whose own
    mode imports torch's compiler, which takes longer than a small network trains.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self._formulas = FlopCounterMode(display=False).flop_registry

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = self._formulas.get(func._overloadpacket)
        if formula is None:
            # an operation that is made of others, such as a matrix product of three dimensions
            with self:
                found = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if found is NotImplemented else found
        found = func(*args, **kwargs)
        self.total += formula(*args, **kwargs, out_val=found)
        return found
