"""The executor that trains trials in worker processes, and the plugin that registers it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from thalweg import hookimpl
from thalweg.contracts.executor import Executor, J, Progress, R
from thalweg.hookspecs import Register

_LOOK_EVERY = 0.2
"""Seconds between two looks at the workers' progress."""
_MEMORY = 2**30
"""Bytes of free memory that a worker is counted with where their number is chosen."""


class Processes(Executor):
    """Several at once, each in a process that runs one thread.

    A worker that dies costs the trial in hand: it is tried once more, and then lost. One that takes longer than the
    timeout is killed, also inside a call into C, and its trial is lost.
    """

    name = "processes"
    summary = "several trials at once, each in a process of its own"
    stops_late_trials = True

    def run(
        self,
        work: Callable[[J, Progress], R],
        jobs: Sequence[J],
        lost: Callable[[J, str], R],
        progress: Progress,
        workers: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, result) as they end, in any order."""
        import multiprocessing

        import pebble

        context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
        if hasattr(context, "set_forkserver_preload"):
            # imported once, before workers are forked
            context.set_forkserver_preload(["thalweg.runner.work", "torch", "pandas", "pyarrow.parquet"])
        # no locks and no queue: a worker that is killed must hold nothing that others wait for
        counts = context.RawArray("q", 2 * len(jobs))
        told = [0] * len(jobs)

        def tell() -> None:
            for index in running.values():
                done, total = counts[2 * index : 2 * index + 2]
                if done != told[index]:
                    told[index] = done
                    progress(jobs[index], done, total)

        pool = pebble.ProcessPool(
            workers or automatic_workers(),
            initializer=_begin,
            initargs=[counts, context.Value("i", 0), os.getpid()],
            context=context,
        )

        def start(index: int) -> None:
            future = pool.schedule(_do, args=[work, index, jobs[index]], timeout=timeout)
            running[future] = index

        running: dict[Future[Any], int] = {}
        again: set[int] = set()
        try:
            for index in range(len(jobs)):
                start(index)
            while running:
                ended, _ = wait(running, timeout=_LOOK_EVERY, return_when=FIRST_COMPLETED)
                tell()
                for future in ended:
                    index = running.pop(future)
                    try:
                        yield jobs[index], future.result()
                    except TimeoutError:
                        yield jobs[index], lost(jobs[index], f"it took longer than the timeout of {timeout:g} s")
                    except pebble.ProcessExpired as error:
                        if index not in again:
                            again.add(index)
                            start(index)
                            continue
                        yield jobs[index], lost(jobs[index], f"its worker died twice, {_cause(error.exitcode)}")
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def automatic_workers() -> int:
    """As many as there are cores for this process, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return cores
    return max(1, min(cores, free // _MEMORY))


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"by {signal.Signals(-exit_code).name}"
        except ValueError:
            pass
    return f"with exit code {exit_code}"


_counts: Any = None


def _begin(counts: Any, number: Any, runner: int) -> None:
    """What a worker does first."""
    global _counts
    _counts = counts
    # Ctrl-C is the runner's to answer, and standard output is its alone
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)
    from thalweg.allocator import set_allocator

    set_allocator()
    with number.get_lock():
        number.value += 1
        mine = number.value
    _see_one_device(mine)
    threading.Thread(target=_end_with, args=(runner,), daemon=True).start()


def _see_one_device(worker: int) -> None:
    """Where there are several GPUs, workers take turns with them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = given.split(",") if given else [str(index) for index in range(torch.cuda.device_count())]
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[worker % len(devices)]


def _end_with(runner: int) -> None:
    """A runner that is killed takes its workers along."""
    while True:
        try:
            os.kill(runner, 0)
        except OSError:
            os._exit(1)
        time.sleep(1)


def _do(work: Callable[[Any, Progress], Any], index: int, job: Any) -> Any:
    def note(_: Any, done: int, total: int) -> None:
        _counts[2 * index : 2 * index + 2] = [done, total]

    return work(job, note)


@hookimpl
def thalweg_register_executors(register: Register) -> None:
    """Register the executor of processes."""
    register(Processes)
