"""The executor that trains trials in worker processes, and the plugin that registers it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from thalweg import hookimpl
from thalweg.contracts.executor import Executor, ExecutorGone, J, Progress, R
from thalweg.hookspecs import Register
from thalweg.memory import automatic_workers, limit_per_worker, memory_of, told_size

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_LOOK_EVERY = 0.2
"""Seconds between two looks at the workers' progress and memory."""
_SLOT = 4
"""Numbers that a worker reports for a job: steps done, all steps, its process, and how many jobs it had before."""
_NONE_BEGAN = "the workers died before they had begun a trial"


class Processes(Executor):
    """Trains several trials at once, each in a process with one thread.

    If a worker dies, its trial is tried once more and then counts as lost. A worker that exceeds the timeout or its
    memory limit is killed, even inside a call into C, and its trial is lost. If the worker had trained other trials
    before, which may have kept the memory, the trial is tried once more.
    """

    name = "processes"
    summary = "several trials at once, each in a process of its own"
    takes_workers = True
    stops_late_trials = True
    limits_memory = True
    uses_several_devices = True

    def run(
        self,
        work: Callable[[J, Progress], R],
        jobs: Sequence[J],
        lost: Callable[[J, str], R],
        progress: Progress,
        workers: int | None = None,
        timeout: float | None = None,
        memory: int | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, result) as they end, in any order."""
        import pebble

        from thalweg.runner.warm import warm_processes

        context = warm_processes()
        # no locks and no queue, because a killed worker must not hold anything that others wait for
        slots = context.RawArray("q", _SLOT * len(jobs))
        told = [0] * len(jobs)
        workers = workers or automatic_workers()
        limit = memory or limit_per_worker(workers)
        over: dict[int, int] = {}

        def look() -> None:
            for index in running.values():
                done, total, process, _ = slots[_SLOT * index : _SLOT * (index + 1)]
                if done != told[index]:
                    told[index] = done
                    progress(jobs[index], done, total)
                if process and index not in over and (used := memory_of(process)) > limit:
                    over[index] = used
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

        watched, alive = context.Pipe(duplex=False)
        pool = pebble.ProcessPool(
            workers,
            initializer=_begin,
            initargs=[slots, context.Value("i", 0), watched],
            context=context,
        )

        def start(index: int) -> None:
            slots[_SLOT * index : _SLOT * (index + 1)] = [0] * _SLOT
            try:
                future = pool.schedule(_do, args=[work, index, jobs[index]], timeout=timeout)
            except RuntimeError as error:  # the pool saw the death of its workers before this call
                raise ExecutorGone(_NONE_BEGAN) from error
            running[future] = index

        running: dict[Future[Any], int] = {}
        again: set[int] = set()
        try:
            for index in range(len(jobs)):
                start(index)
            while running:
                ended, _ = wait(running, timeout=_LOOK_EVERY, return_when=FIRST_COMPLETED)
                look()
                if not ended and not pool.active:
                    # the pool broke between two calls, and will end none of the jobs that are left
                    raise ExecutorGone(_NONE_BEGAN)
                for future in ended:
                    index = running.pop(future)
                    try:
                        yield jobs[index], future.result()
                    except TimeoutError:
                        yield jobs[index], lost(jobs[index], f"it took longer than the timeout of {timeout:g} s")
                    except pebble.ProcessExpired as error:
                        used, had_others = over.pop(index, None), slots[_SLOT * index + 3]
                        if index not in again and (used is None or had_others):
                            again.add(index)
                            start(index)
                        elif used is not None:
                            reason = f"its worker used {told_size(used)}, more than the limit of {told_size(limit)}"
                            yield jobs[index], lost(jobs[index], reason)
                        else:
                            yield jobs[index], lost(jobs[index], f"its worker died twice, {_cause(error.exitcode)}")
                    except BrokenProcessPool as error:
                        raise ExecutorGone(_NONE_BEGAN) from error
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()
            watched.close()
            alive.close()


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"by {signal.Signals(-exit_code).name}"
        except ValueError:
            pass
    return f"with exit code {exit_code}"


_slots: Any = None
_had = 0


def _begin(slots: Any, number: Any, runner: Connection) -> None:
    """Prepare a worker."""
    global _slots
    _slots = slots
    # only the runner answers Ctrl-C and writes to standard output
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)
    from thalweg.allocator import set_allocator

    set_allocator()
    with number.get_lock():
        number.value += 1
        mine = number.value
    _see_one_device(mine)
    from thalweg.runner.warm import end_with

    end_with(runner)


def _see_one_device(worker: int) -> None:
    """Let the worker see one GPU. Workers take turns with the GPUs of the machine."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = given.split(",") if given else [str(index) for index in range(torch.cuda.device_count())]
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[worker % len(devices)]


def _do(work: Callable[[Any, Progress], Any], index: int, job: Any) -> Any:
    global _had
    mine = _SLOT * index
    _slots[mine + 2 : mine + 4] = [os.getpid(), _had]
    _had += 1

    def note(_: Any, done: int, total: int) -> None:
        _slots[mine : mine + 2] = [done, total]

    return work(job, note)


@hookimpl
def thalweg_register_executors(register: Register) -> None:
    """Register the executor of processes."""
    register(Processes)
