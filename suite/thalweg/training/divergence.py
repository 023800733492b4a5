"""What "diverged" means: the only place that decides it."""

from __future__ import annotations

from thalweg.errors import Diverged

FACTOR = 1e6
"""A training loss past this many times max(1, the first loss) ends the trial as diverged, as nan and infinity do."""

LOOK_EVERY = {"cpu": 1, "cuda": 25, "mps": 25}
"""Steps between looks at the loss, by device: on a GPU each look waits for the device."""


class Divergence:
    """Watches the training loss of one trial, at every step looked at and at every evaluation."""

    def __init__(self) -> None:
        self.first: float | None = None
        """The absolute value of the first loss seen; None before it."""

    @property
    def bound(self) -> float:
        """The largest loss, in absolute value, with which the trial goes on: FACTOR max(1, first loss)."""
        return FACTOR * max(1.0, self.first or 0.0)

    def check(self, loss: float, step: int) -> None:
        """Diverged where the loss is past the bound, infinite or nan; the first loss sets the bound."""
        if self.first is None:
            self.first = abs(loss)
        if not abs(loss) <= self.bound:
            raise Diverged(f"training loss {loss:.4g} at step {step}")
