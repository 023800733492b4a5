"""The executor that trains one trial after the other in this process, and the plugin that registers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from thalweg import hookimpl
from thalweg.contracts.executor import Executor, J, Progress, R
from thalweg.hookspecs import Register
from thalweg.runner.interrupts import heed


class Serial(Executor):
    """Trains one trial after the other, in the order of the benchmark."""

    name = "serial"
    summary = "one trial after the other, in this process"

    def run(
        self,
        work: Callable[[J, Progress], R],
        jobs: Sequence[J],
        lost: Callable[[J, str], R],
        progress: Progress,
        workers: int | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, result) as each is done."""

        def heeding(job: J, done: int, total: int) -> None:
            heed()
            progress(job, done, total)

        for job in jobs:
            yield job, work(job, heeding)


@hookimpl
def thalweg_register_executors(register: Register) -> None:
    """Register the serial executor."""
    register(Serial)
