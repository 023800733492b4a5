"""The executor that hands trials to a dask cluster, and the plugin that registers it."""

from __future__ import annotations

import functools
import ipaddress
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from thalweg import hookimpl
from thalweg.contracts.executor import Executor, ExecutorGone, J, Progress, R
from thalweg.errors import UserError
from thalweg.hookspecs import Register
from thalweg.memory import automatic_workers, limit_per_worker, told_size
from thalweg.runner.dask_random import leave_random_alone
from thalweg.runner.returned import ReturnedTrials, install, token, train_and_send

SCHEDULER = "THALWEG_DASK_SCHEDULER"
"""The environment variable with the address of a scheduler. If it is empty, thalweg starts a cluster here."""
_OUR_CLUSTER = {
    # thalweg itself tries the trials of a dead worker once more
    "distributed.scheduler.allowed-failures": 0,
    # dask must not move a trial's memory to the disk, so nothing happens below the limit
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.0,
}
_NOTICE = 3.0
"""Seconds that a client needs to see that its scheduler is gone."""
_TELL_EVERY = 1.0
"""Seconds between two messages about a trial's steps."""
_ONE_AT_A_TIME = threading.Lock()
"""In a worker of several threads: the global random generators and settings of a process are one trial's."""


class Dask(Executor):
    """Trains trials on the workers of a dask cluster.

    A worker that does not see the results folder sends its trials back. If a worker dies, dask does not tell which of
    the trials that waited there has ended it. So each of them is tried once more after all others, while no other trial
    runs. A cluster that thalweg did not start tries them before as often as its scheduler allows. If the workers
    declare a resource ``GPU``, each trial asks for one.
    """

    name = "dask"
    summary = "on a dask cluster: this machine's processes, or with --dask-scheduler one that is there"
    takes_workers = True
    limits_memory = True
    takes_scheduler = True

    def run(
        self,
        work: Callable[[J, Progress], R],
        jobs: Sequence[J],
        lost: Callable[[J, str], R],
        progress: Progress,
        workers: int | None = None,
        memory: int | None = None,
        scheduler: str | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, result) as they end, in any order."""
        try:
            import dask
            import distributed
        except ImportError as error:
            raise UserError(f"executor 'dask' needs dask: pip install 'thalweg[dask]' ({error})") from error
        library: Any = distributed  # dask's functions have no types
        address = scheduler or os.environ.get(SCHEDULER, "")
        # thalweg reports in one line that a scheduler is gone
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        if address and memory is not None:
            raise UserError(
                "--memory: the cluster is not thalweg's own: say dask worker --memory-limit where it starts"
            )
        workers = workers or automatic_workers()
        limit = memory or limit_per_worker(workers)
        with ExitStack() as stack:
            stack.enter_context(dask.config.set(_OUR_CLUSTER))
            if address:
                _tell_if_open(address)
                try:
                    client = stack.enter_context(library.Client(address, timeout=10))
                except (OSError, ValueError) as error:
                    raise UserError(f"--dask-scheduler {address}: no scheduler answers there ({error})") from error
                except (TypeError, RuntimeError) as error:  # dask's words for certificates that are not there
                    raise UserError(
                        f"--dask-scheduler {address}: its TLS and dask's settings here do not go together: say under"
                        f" distributed.comm.tls which certificates to use (docs/running.md) ({error})"
                    ) from error
            else:
                from thalweg.runner.own_cluster import own_cluster

                cluster = stack.enter_context(own_cluster(workers, limit))
                client = stack.enter_context(library.Client(cluster))
            # the plugin also reaches workers that replace a dead one
            client.register_plugin(_beginning(library, own=not address))
            gpus = {"GPU": 1} if _have_gpus(client) else None
            seen = stack.enter_context(token(jobs))
            topic = f"thalweg-{uuid.uuid4()}"
            left = set(range(len(jobs)))
            lock = threading.Lock()

            def steps(event: tuple[float, tuple[int, int, int]]) -> None:
                index, done, total = event[1]
                with lock:
                    if index in left:
                        progress(jobs[index], done, total)

            client.subscribe_topic(topic, steps)
            rounds, suspected = [list(range(len(jobs)))], set[int]()
            while rounds:
                submitted = {
                    client.submit(_do, work, jobs[index], index, topic, seen, pure=False, resources=gpus): index
                    for index in rounds.pop(0)
                }
                for future in library.as_completed(list(submitted)):
                    index = submitted.pop(future)
                    job = jobs[index]
                    try:
                        result: Any = future.result()
                    except Exception as error:
                        killed = isinstance(error, library.KilledWorker)
                        if _is_gone(client, future, 0.0 if killed or not _is_of_connection(error) else _NOTICE):
                            raise ExecutorGone(f"the scheduler at {address} is gone") from error
                        if killed and index not in suspected:
                            suspected.add(index)
                            rounds.append([index])
                            continue
                        of_memory = "" if address else f" (a worker that uses more than {told_size(limit)} is ended)"
                        result = lost(job, f"its worker is gone: {type(error).__name__}: {error}{of_memory}")
                    with lock:
                        left.remove(index)
                    if isinstance(result, ReturnedTrials):
                        trials: Any = job
                        try:
                            result = install(trials, result)
                        except Exception as error:
                            reason = f"what its worker sent could not be saved: {type(error).__name__}: {error}"
                            result = lost(job, reason)
                    yield job, result


@functools.cache
def _tell_if_open(address: str) -> None:
    """Warn once about an address that other machines can reach without authentication."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme == "tcp" and not _is_loopback(parts.hostname or ""):
        sys.stderr.write(
            f"--dask-scheduler {address} has no TLS: whoever reaches it can run code as the user of its workers;"
            " give it certificates and say tls:// (docs/running.md)\n"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_of_connection(error: Exception) -> bool:
    """Whether an error comes from the connection to a worker, and not from the trial."""
    from concurrent.futures import CancelledError

    return isinstance(error, OSError | CancelledError) or type(error).__module__.startswith("distributed")


def _is_gone(client: Any, future: Any, patience: float) -> bool:
    """Whether the scheduler is gone. A result may be lost some moments before the client sees why."""
    end = time.monotonic() + patience
    while client.status == "running" and not future.cancelled():
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True


def _have_gpus(client: Any) -> bool:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return bool(workers) and all(worker.get("resources", {}).get("GPU") for worker in workers)


def _beginning(library: Any, own: bool) -> Any:
    """A plugin that prepares a worker. Workers of thalweg's cluster leave Ctrl-C and standard output to it."""

    class Beginning(library.WorkerPlugin):  # type: ignore[misc]
        name = "thalweg"

        def setup(self, worker: Any) -> None:
            from thalweg.allocator import set_allocator

            set_allocator()
            if own:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                os.dup2(2, 1)

    return Beginning()


def _do(work: Callable[[Any, Progress], Any], job: Any, index: int, topic: str, seen: Path | None) -> Any:
    """Do a job and report its steps. A worker that does not see ``seen`` sends the trials back."""
    from distributed import get_worker

    leave_random_alone()
    worker, last = get_worker(), 0.0

    def note(_: Any, done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= _TELL_EVERY:
            last = now
            worker.log_event(topic, (index, done, total))

    with _ONE_AT_A_TIME:
        return work(job, note) if seen is None or seen.is_file() else train_and_send(job, note)


@hookimpl
def thalweg_register_executors(register: Register) -> None:
    """Register the executor of dask clusters."""
    register(Dask)
