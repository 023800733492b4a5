"""Steps of a class that compiles itself, without the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch

from thalweg import Stepper, StepReport
from thalweg.contracts.objective import Objective
from thalweg.contracts.torch_stepper import TorchStepper


@contextmanager
def eagerly() -> Iterator[None]:
    """While active, torch.compile changes nothing, as with TORCHDYNAMO_DISABLE=1 for the whole process."""
    with torch.compiler.set_stance("force_eager"):  # type: ignore[no-untyped-call]
        yield


class Eager(TorchStepper):
    """A stepper whose steps and evaluations are not compiled."""

    @classmethod
    def of(cls, stepper: Stepper) -> Eager:
        """The stepper, made one of these."""
        stepper.__class__ = cls
        return cast(Eager, stepper)

    def step(self, objective: Objective) -> StepReport:
        """One step of the class."""
        with eagerly():
            return super().step(objective)

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """The weights to be evaluated."""
        with eagerly(), super().evaluation_weights():
            yield
