"""A trial that trains in a stack: its evaluations and its record are its own, the steps are the stack's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from thalweg.benchmark_file import Keep
from thalweg.contracts import Stepper, StepReport
from thalweg.contracts.objective import Objective
from thalweg.contracts.problem import Split
from thalweg.errors import Diverged
from thalweg.failure import Failure
from thalweg.training.assembly import ActiveProbe, Assembly
from thalweg.training.recording import Recording
from thalweg.training.spent import Spent
from thalweg.training.trained import Trained


class _NoStepper(Stepper):
    """Stands where a trial alone has its stepper: the module holds the weights to be evaluated already."""

    def __init__(self, averages: bool) -> None:
        self.averages = averages

    def step(self, objective: Objective) -> StepReport:
        raise RuntimeError("the stack makes the steps")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Member(Recording):
    """One trial of a stack: its evaluations, selection, end and summary are those of a trial alone.

    Args:
        assembly: what the trial would train with alone. The module is given weights before each look.
        progress: called with the steps done and all steps.
        keep: which weights are kept.
        size: K, the number of places in the stack.
        weigh: gives the bytes of a stepper's state, after a step (True) or before the first (False).
        probes: measured while the trial trains. They do not look at the optimizer.

    The stepper of the assembly decides whether the weights that are evaluated differ from those that train.
    """

    def __init__(
        self,
        assembly: Assembly,
        progress: Callable[[int, int], None],
        keep: Keep | None,
        size: int,
        weigh: Callable[[bool], int | None],
        probes: list[ActiveProbe],
    ) -> None:
        assembly.stepper = _NoStepper(assembly.stepper.averages)
        super().__init__(assembly, probes, keep, Spent())
        self.progress = progress
        self.size = size
        self.weigh = weigh
        self.trained: Trained | None = None
        """The result, once the training has ended."""
        self.stepped = False
        self.given: dict[Split, dict[str, float]] = {}
        """Metrics that the stack has computed for all members; each split is used once."""

    def measured(self, split: Split) -> dict[str, float]:
        """The metrics that the stack has given, or those of the trial's own module."""
        return self.given.pop(split, None) or super().measured(split)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """As for a trial alone, unless the metrics are given: then the module is not called."""
        if self.given:
            yield
            return
        with super().looking():
            yield

    def attempt(self, *parts: Callable[[], None]) -> None:
        """Do parts of a training; divergence and exceptions are how it ends."""
        try:
            for part in parts:
                part()
        except Diverged as error:
            self.trained = self.result("diverged", str(error))
        except (Exception, SystemExit) as error:
            failure = Failure.of(error)
            self.trained = self.result("failed", failure.line, failure)

    def look(self, info: dict[str, float]) -> None:
        """Evaluate, after steps that reported ``info``."""
        self.info = info
        self.attempt(self.evaluate)

    def end(self) -> None:
        """Do what follows the last look; the trial is done, unless that fails."""
        self.attempt(self.finish)
        if self.trained is None:
            self.trained = self.result("done")

    def check(self, loss: float) -> None:
        """End where the loss of a step is past its bound."""
        self.attempt(lambda: self.divergence.check(loss, self.spent.step))

    def result(
        self, status: Literal["done", "diverged", "failed"], reason: str = "", failure: Failure | None = None
    ) -> Trained:
        """The result of a trial alone, with the size of the stack in its summary."""
        result = super().result(status, reason, failure)
        result.summary["batched"] = self.size
        return result

    def state(self) -> dict[str, Any]:
        """What the stack's state does not hold: the record, and the weights that the trial was evaluated at last."""
        module = {} if self.trained is None else self.it.module.state_dict()
        ended = self.trained and (self.trained.status, self.trained.reason, self.trained.failure, self.trained.summary)
        return super().state() | {"module": module, "ended": ended}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, or have ended as it had."""
        super().restore(state)
        if state["ended"]:
            status, reason, failure, summary = state["ended"]
            self.it.module.load_state_dict(state["module"])
            self.trained = super().result(status, reason, failure)
            self.trained.summary = summary
        else:
            self.resume()

    def state_bytes(self) -> int | None:
        """The bytes that the state of an optimizer of the trial's own would have."""
        return self.weigh(self.stepped)
