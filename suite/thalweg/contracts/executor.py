"""An executor decides where and in which order trials are trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from thalweg.contracts.component import Component

J = TypeVar("J")
R = TypeVar("R")

Progress = Callable[[Any, int, int], None]
"""``progress(job, done, total)``: how many of a job's steps are done. Safe to call from the work only."""


class ExecutorGone(Exception):  # noqa: N818 - as Diverged is
    """Raised by an executor that can run nothing more: its cluster is gone. Jobs that it did not yield are left."""


class Executor(Component, ABC):
    """Runs jobs. ``work`` and every job can be pickled, and ``work`` reports a trial's failure as its result.

    An executor itself only fails a job whose worker was lost: it yields ``lost(job, reason)`` for it.
    """

    kind: ClassVar[str] = "executor"
    stops_late_trials: ClassVar[bool] = False
    """Whether it can stop a trial from outside; then ``run`` takes a ``timeout`` in seconds, and the trial is lost."""
    limits_memory: ClassVar[bool] = False
    """Whether it can limit each worker's memory; then ``run`` takes ``memory`` in bytes, and a default where None."""

    @abstractmethod
    def run(
        self,
        work: Callable[[J, Progress], R],
        jobs: Sequence[J],
        lost: Callable[[J, str], R],
        progress: Progress,
        workers: int | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, result) as jobs finish, each job exactly once."""
