"""Checks of executors."""

from __future__ import annotations

from typing import Any

from thalweg.registry import Registry
from thalweg.testing.condition import condition, expect
from thalweg.testing.others import contract


@condition(
    finds="jobs that are lost, repeated or confused with each other, and progress that is not passed on",
    means="a run ends with an error, or trials of the run are missing",
)
def does_each_job_once(registry: Registry, name: str) -> None:
    """Every job returns exactly once, with its own result, and its progress is passed on."""
    seen: list[tuple[Any, int, int]] = []
    _check_results(registry, name, list(range(5)), seen)
    told = [(job, 1, 1) for job in range(5)]
    expect(sorted(seen) == told, f"the progress of each job once, {told}", f"{seen}")


@condition(
    finds="an executor that waits or fails if nothing is left to do",
    means="a run whose trials are all on disk ends with an error",
)
def does_nothing_without_jobs(registry: Registry, name: str) -> None:
    """An executor without jobs returns nothing."""
    _check_results(registry, name, [], [])


@condition(
    finds="an executor that declares more than its `run` takes: workers, a timeout, a limit of memory",
    means="a run with `-j`, `--timeout` or `--memory` ends with an error instead of training",
)
def takes_what_it_declares(registry: Registry, name: str) -> None:
    """An executor takes the number of workers, the timeout and the memory limit that it declares."""
    executor = registry.executor(name)
    given: dict[str, Any] = {}
    if executor.takes_workers:
        given["workers"] = 2
    if executor.stops_late_trials:
        given["timeout"] = 600.0
    if executor.limits_memory:
        given["memory"] = 2**40
    _check_results(registry, name, list(range(5)), [], **given)


def _check_results(
    registry: Registry, name: str, jobs: list[int], seen: list[tuple[Any, int, int]], **given: Any
) -> None:
    work = registry.executor(name).run(_square, jobs, _lost, lambda *args: seen.append(args), **given)
    expected, found = [(job, job * job) for job in jobs], sorted(work)
    expect(found == expected, f"each job once with its result, {expected}", f"{found}")


def _square(job: int, progress: Any) -> int:
    progress(job, 1, 1)
    return job * job


def _lost(job: int, reason: str) -> int:
    raise RuntimeError(f"the executor lost job {job}: {reason}")


CHECKS = (contract, does_each_job_once, does_nothing_without_jobs, takes_what_it_declares)
