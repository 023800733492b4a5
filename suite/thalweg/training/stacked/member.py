"""A trial that trains in a group: what is looked at and recorded is its own, the steps are the group's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thalweg.benchmark_file import Keep
from thalweg.contracts import Stepper, StepReport
from thalweg.contracts.objective import Objective
from thalweg.errors import Diverged
from thalweg.failure import Failure
from thalweg.training.assembly import Assembly
from thalweg.training.loop import DIVERGENCE_FACTOR, Trained, Training


class _Still(Stepper):
    """Stands where a member's stepper would: the module holds the weights to be evaluated already."""

    def __init__(self, averages: bool) -> None:
        self.averages = averages

    def step(self, objective: Objective) -> StepReport:
        raise RuntimeError("the group makes the steps")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Member(Training):
    """One trial of a group: its evaluations, selection, end and summary are those of a trial alone.

    Args:
        assembly: its parts; the module is given weights when there is something to look at.
        progress: as of a trial alone.
        keep: as of a trial alone.
        members: K.
        weigh: the bytes of a stepper's state, after a step or before the first.

    Whether the weights to be evaluated are others than those that train is as for a stepper of its own.
    """

    def __init__(
        self,
        assembly: Assembly,
        progress: Callable[[int, int], None],
        keep: Keep | None,
        members: int,
        weigh: Callable[[bool], int | None],
    ) -> None:
        assembly.stepper = _Still(assembly.stepper.averages)
        super().__init__(assembly, [], progress, keep)
        self.members = members
        self.weigh = weigh
        self.trained: Trained | None = None
        self.stepped = False

    @property
    def bound(self) -> float:
        """The training loss past which it has diverged."""
        return DIVERGENCE_FACTOR * max(1.0, self._first_loss or 0.0)

    def attempt(self, *parts: Callable[[], None]) -> None:
        """Do parts of a training; divergence and exceptions are how it ends."""
        try:
            for part in parts:
                part()
        except Diverged as error:
            self.trained = self._result("diverged", str(error))
        except (Exception, SystemExit) as error:
            failure = Failure.of(error)
            self.trained = self._result("failed", failure.line, failure)

    def begin(self) -> None:
        """What comes before the first step."""
        self.attempt(self._start)

    def look(self, info: dict[str, float]) -> None:
        """Evaluate, after steps that told ``info``."""
        self._info = info
        self.attempt(self._evaluate)

    def finish(self) -> None:
        """What comes after the last look: it is done, unless that fails."""
        self.attempt(self._finish)
        if self.trained is None:
            self.trained = self._result("done")

    def check(self, loss: float) -> None:
        """Look at the loss of a step."""
        self.attempt(lambda: self._check_value(loss))

    def _result(self, status: Any, reason: str = "", failure: Failure | None = None) -> Trained:
        summary = self._summary() | {"batched": self.members}
        return Trained(status, reason, failure, self.recorder.table(), summary, weights=self.weights)

    def state(self) -> dict[str, Any]:
        """What is its own: its weights and the optimizer's state are the group's."""
        module = {} if self.trained is None else self.it.module.state_dict()
        ended = self.trained and (self.trained.status, self.trained.reason, self.trained.failure, self.trained.summary)
        return {"own": self.own_state(), "rows": self.recorder.rows, "module": module, "ended": ended}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, or have ended as it had."""
        vars(self).update(state["own"])
        self.recorder.rows = state["rows"]
        if state["ended"]:
            status, reason, failure, summary = state["ended"]
            self.it.module.load_state_dict(state["module"])
            self.trained = Trained(status, reason, failure, self.recorder.table(), summary, weights=self.weights)
        else:
            self.resumed_at = [*self.resumed_at, self.step]

    def _state_bytes(self) -> int | None:
        return self.weigh(self.stepped)
