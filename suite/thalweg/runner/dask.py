"""The executor that hands trials to a dask cluster, and the plugin that registers it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from thalweg import hookimpl
from thalweg.contracts.executor import Executor, ExecutorGone, J, Progress, R
from thalweg.errors import UserError
from thalweg.hookspecs import Register
from thalweg.runner.processes import automatic_workers

SCHEDULER = "THALWEG_DASK_SCHEDULER"
"""The environment variable with the address of a scheduler; a cluster of this machine's own where it is empty."""


class Dask(Executor):
    """On the workers of a dask cluster, which see the results folder under the same path as this machine.

    A trial whose worker dies is tried once more on a cluster of our own, and as often as its scheduler allows on
    another. A GPU is asked for as the resource ``GPU`` where the cluster's workers declare it.
    """

    name = "dask"
    summary = "on a dask cluster: this machine's processes, or with --dask-scheduler one that is there"

    def run(
        self,
        work: Callable[[J, Progress], R],
        jobs: Sequence[J],
        lost: Callable[[J, str], R],
        progress: Progress,
        workers: int | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, result) as they end, in any order."""
        try:
            import dask
            import distributed
        except ImportError as error:
            raise UserError(f"executor 'dask' needs dask: pip install 'thalweg[dask]' ({error})") from error
        library: Any = distributed  # its functions have no types
        address = os.environ.get(SCHEDULER, "")
        # that a scheduler is gone is told in one line
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        with ExitStack() as stack:
            # a worker that died once with a trial may have died of something else
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 1}))
            if address:
                try:
                    client = stack.enter_context(library.Client(address, timeout=10))
                except (OSError, ValueError) as error:
                    raise UserError(f"--dask-scheduler {address}: no scheduler answers there ({error})") from error
            else:
                cluster = library.LocalCluster(
                    n_workers=workers or automatic_workers(),
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address=None,
                    host="127.0.0.1",
                    silence_logs=logging.CRITICAL,
                )
                stack.enter_context(cluster)
                client = stack.enter_context(library.Client(cluster))
            # also of workers that come later, in place of one that died
            client.register_plugin(_beginning(library, own=not address))
            gpus = {"GPU": 1} if _have_gpus(client) else None
            submitted = {client.submit(_do, work, job, pure=False, resources=gpus): job for job in jobs}
            for future in library.as_completed(list(submitted)):
                job = submitted.pop(future)
                try:
                    result, counts = future.result()
                except Exception as error:
                    if client.status != "running" or future.cancelled():
                        raise ExecutorGone(f"the scheduler at {address} is gone") from error
                    yield job, lost(job, f"its worker is gone: {type(error).__name__}: {error}")
                else:
                    if counts is not None:
                        progress(job, *counts)
                    yield job, result


def _have_gpus(client: Any) -> bool:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return bool(workers) and all(worker.get("resources", {}).get("GPU") for worker in workers)


def _beginning(library: Any, own: bool) -> Any:
    """What a worker does first; one of ours leaves Ctrl-C to the runner, and standard output too."""

    class Beginning(library.WorkerPlugin):  # type: ignore[misc]
        name = "thalweg"

        def setup(self, worker: Any) -> None:
            from thalweg.allocator import set_allocator

            set_allocator()
            if own:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                os.dup2(2, 1)

    return Beginning()


def _do(work: Callable[[Any, Progress], Any], job: Any) -> tuple[Any, tuple[int, int] | None]:
    """The result, and how many steps were done in the end."""
    counts: tuple[int, int] | None = None

    def note(_: Any, done: int, total: int) -> None:
        nonlocal counts
        counts = done, total

    return work(job, note), counts


@hookimpl
def thalweg_register_executors(register: Register) -> None:
    """Register the executor of dask clusters."""
    register(Dask)
