"""What a trial does around each step of its optimizer: the learning rate's schedule and decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from thalweg.contracts import Stepper
from thalweg.errors import Diverged
from thalweg.trial import DecayOn, Trial


def decayed(parameters: Iterable[nn.Parameter], on: DecayOn, leading: int = 0) -> list[nn.Parameter]:
    """The parameters that decay. The first ``leading`` dimensions of a parameter count members of a stack.

    >>> [p.dim() for p in decayed(nn.Linear(2, 3).parameters(), "matrices")]
    [2]
    """
    return [parameter for parameter in parameters if on == "all" or parameter.dim() - leading > 1]


class StepRecipe:
    """The schedule and the decoupled weight decay of one trial. The objective clips and adds coupled weight decay."""

    def __init__(self, trial: Trial, stepper: Stepper, parameters: list[nn.Parameter], first: float) -> None:
        self.info: dict[str, float] = {}
        """The learning rate of the last step, as a row of the curve; empty where the rate is constant."""
        self._schedule = trial.schedule
        self._decay = trial.decoupled_weight_decay
        self._stepper = stepper
        self._parameters = decayed(parameters, trial.weight_decay_on)
        self._lr = 0.0 if self._schedule.is_constant else stepper.lr
        self._before: list[torch.Tensor] = []
        self._spent = 0.0
        self._first = first

    def state(self) -> dict[str, Any]:
        """What the next learning rate depends on besides the number of the step."""
        return {"spent": self._spent, "info": self.info}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self._spent, self.info = state["spent"], state["info"]

    def before(self, step: int, spent: float) -> None:
        """Set the learning rate of a step.

        Args:
            step: the number of the step, from 0.
            spent: the share of the budget that is spent before the step.

        The step is taken to spend as much as the step before it; the first step, ``first``.
        """
        if not self._schedule.is_constant:
            one = spent - self._spent if step else self._first
            self._spent = spent
            self._stepper.lr = self._lr * self._schedule.factor_at(step, spent, one)
            self.info = {"lr": self._stepper.lr}
        if self._decay:
            self._before = [parameter.detach().clone() for parameter in self._parameters]

    def after(self) -> None:
        """Decay the weights, where they decay beside the step."""
        if self._decay:  # without the context of torch.no_grad, which costs more than this question
            self._decay_weights()

    @torch.no_grad()
    def _decay_weights(self) -> None:
        """w <- w - lr c v, with v the weights before the step (Loshchilov & Hutter 2019).

        Where parameter groups have different learning rates, each weight decays with the rate of its group.
        """
        rates = self._stepper.rates(self._parameters)
        for parameter, before, lr in zip(self._parameters, self._before, rates, strict=True):
            share = lr * self._decay
            if not share <= torch.finfo(parameter.dtype).max:
                raise Diverged(f"weight decay takes {share:g} times the weights off them")
            parameter.sub_(before, alpha=share)
