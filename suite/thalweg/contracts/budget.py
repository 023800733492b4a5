"""How long to train, how often to look, and what to reach."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """Immutable, and refusing keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Count = Annotated[int, Field(gt=0, strict=True)]


class Budget(Frozen):
    """How long to train: exactly one of epochs, steps, gradient evaluations, work and seconds."""

    epochs: Count | None = None
    """Passes over the training split."""
    steps: Count | None = None
    """Steps of the optimizer."""
    gradient_evaluations: Count | None = None
    """Gradients of the loss on a batch, of which a step may take several. Curvature products are left out."""
    work: Count | None = None
    """Everything that a step evaluates, curvature products included, in gradients of one example.

    The column ``work`` of a curve has this unit. An epoch of a first-order method is as much as it has examples.
    """
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """Seconds of training, evaluations left out."""

    @model_validator(mode="after")
    def _one(self) -> Budget:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of epochs, steps, gradient_evaluations, work, seconds")
        return self

    @property
    def axis(self) -> tuple[str, float]:
        """The column of a curve that counts the spending, and the amount of the budget."""
        ((unit, amount),) = self.model_dump(exclude_none=True).items()
        return {"epochs": "epoch", "steps": "step"}.get(unit, unit), float(amount)

    def total_steps(self, steps_per_epoch: int) -> int | None:
        """The steps in the budget; None for gradient evaluations, work and seconds, which give no number of steps.

        >>> Budget(epochs=3).total_steps(steps_per_epoch=20), Budget(seconds=60.0).total_steps(20)
        (60, None)
        """
        return self.epochs * steps_per_epoch if self.epochs is not None else self.steps

    def __str__(self) -> str:
        ((unit, amount),) = self.model_dump(exclude_none=True).items()
        return f"{amount} {unit.replace('_', ' ')}"


class Interval(Frozen):
    """How often to evaluate: every few epochs or every few steps, exactly one of both."""

    epochs: Count | None = None
    """Epochs between evaluations."""
    steps: Count | None = None
    """Steps between evaluations."""

    @model_validator(mode="after")
    def _one(self) -> Interval:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of epochs, steps")
        return self


class Target(Frozen):
    """A value of a metric to reach, on the validation split where there is one, else on the training split."""

    metric: str
    """The metric of the problem."""
    value: Annotated[float, Field(allow_inf_nan=False, strict=True)]
    """The value to reach."""
    start: Annotated[float, Field(allow_inf_nan=False, strict=True)] | None = None
    """The metric's value before training, from which the scores over all workloads space easier targets.

    None: what the problem declares (``Problem.starting_level``).
    """

    def __str__(self) -> str:
        return f"{self.metric} {self.value:g}"
