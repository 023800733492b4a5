"""Executors are chosen and refused by what they declare, whatever their names are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from thalweg.contracts.executor import Executor, Progress
from thalweg.errors import UserError
from thalweg.registry import Registry, load_registry
from thalweg.runner.options import RunOptions, default_executor, executor_of, idle_devices, workers_at_once


class Cluster(Executor):
    """What a package for another cluster would register."""

    name, summary = "cluster", "for tests"
    takes_workers = True
    takes_scheduler = True

    def run(
        self,
        work: Callable[[Any, Progress], Any],
        jobs: Sequence[Any],
        lost: Callable[[Any, str], Any],
        progress: Progress,
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        raise NotImplementedError


@pytest.fixture
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize(
    ("several", "asked", "chosen"),
    [
        (False, {}, "serial"),
        (True, {}, "processes"),
        (False, {"timeout": 5.0}, "processes"),
        (False, {"memory": 10**9}, "processes"),
    ],
)
def test_the_default_is_the_first_that_can(
    registry: Registry, several: bool, asked: dict[str, Any], chosen: str
) -> None:
    assert default_executor(registry, several, RunOptions(**asked)) == chosen


@pytest.mark.parametrize(
    ("executor", "asked", "message"),
    [
        ("serial", {"timeout": 5.0}, "--timeout: executor 'serial' cannot stop a trial from outside: use 'processes'"),
        (
            "serial",
            {"memory": 1},
            "--memory: executor 'serial' cannot limit a worker's memory: use 'processes' or 'dask'",
        ),
        ("dask", {"timeout": 5.0}, "--timeout: executor 'dask' cannot stop a trial from outside: use 'processes'"),
        ("processes", {"scheduler": "tcp://a:1"}, "executor 'processes' connects to no scheduler: use 'dask'"),
    ],
)
def test_what_an_executor_cannot_do_is_refused(
    registry: Registry, executor: str, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match="executor") as refused:
        executor_of(RunOptions(executor=executor, **asked), registry)
    assert message in str(refused.value)


def test_arguments_go_to_the_executors_that_take_them(registry: Registry) -> None:
    how, arguments = executor_of(RunOptions(executor="dask", memory=7, scheduler="tcp://a:1"), registry)
    assert (how.name, arguments) == ("dask", {"memory": 7, "scheduler": "tcp://a:1"})
    assert executor_of(RunOptions(), registry)[1] == {}


def test_how_many_trials_at_once(registry: Registry) -> None:
    assert workers_at_once(registry.executor("serial"), 4) == 1
    assert workers_at_once(registry.executor("processes"), 4) == 4
    assert workers_at_once(Cluster(), 3) == 3


def test_idle_devices_are_told(registry: Registry) -> None:
    assert idle_devices(registry.executor("serial"), registry, 1) is None
    assert idle_devices(registry.executor("processes"), registry, 4) is None
    told = idle_devices(Cluster(), registry, 4)
    assert told == "executor 'cluster' uses 1 of 4 GPUs: --executor processes uses all"
