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

    An executor itself fails only a job whose worker was lost: it yields ``lost(job, reason)`` for that job. What an
    executor can do besides, it declares by the attributes below. thalweg reads the attributes and never the name.
    """

    kind: ClassVar[str] = "executor"
    takes_workers: ClassVar[bool] = False
    """Whether it trains several trials at once: as many as ``workers`` says."""
    stops_late_trials: ClassVar[bool] = False
    """Whether it can stop a trial from outside: then ``run`` takes ``timeout`` in seconds, and loses the trial."""
    limits_memory: ClassVar[bool] = False
    """Whether it can limit each worker's memory: then ``run`` takes ``memory`` in bytes, with a default for None."""
    takes_scheduler: ClassVar[bool] = False
    """Whether it can connect to a cluster: then ``run`` takes ``scheduler``, the address of the cluster's scheduler."""
    uses_several_devices: ClassVar[bool] = False
    """Whether trials at once are spread over the GPUs of this machine."""

    @abstractmethod
    def run(
        self,
        work: Callable[[J, Progress], R],
        jobs: Sequence[J],
        lost: Callable[[J, str], R],
        progress: Progress,
        workers: int | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, result) as jobs finish, each job exactly once.

        Args:
            work: trains a job; takes the job and ``progress``.
            jobs: what to train.
            lost: gives the result of a job whose worker was lost, with the reason.
            progress: takes a job, its steps done and all its steps.
            workers: how many jobs at once; None leaves the number to the executor.
        """
