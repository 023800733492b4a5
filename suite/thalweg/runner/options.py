"""How a run trains its trials, and which executor can do that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from thalweg.contracts.executor import Executor
from thalweg.errors import UserError
from thalweg.memory import automatic_workers
from thalweg.registry import Registry


@dataclass(frozen=True)
class RunOptions:
    """How a run trains its trials; nothing of this changes a number."""

    executor: str = "serial"
    workers: int | None = None
    """How many trials at once; None leaves the number to the executor."""
    timeout: float | None = None
    """Seconds after which a trial is stopped."""
    memory: int | None = None
    """Bytes that each worker may use; None for its share of what the machine has left."""
    scheduler: str | None = None
    """The address of a cluster's scheduler."""
    fresh: bool = False
    """Whether trials are trained again that are on disk."""


@dataclass(frozen=True)
class _Need:
    """An option that only some executors can honour."""

    field: str
    """The field of RunOptions, which is also the argument of ``Executor.run``."""
    capability: str
    """The attribute with which an executor declares that it can."""
    option: str
    """The command line's word."""
    refusal: str


_NEEDS = (
    _Need("timeout", "stops_late_trials", "--timeout", "cannot stop a trial from outside"),
    _Need("memory", "limits_memory", "--memory", "cannot limit a worker's memory"),
    _Need("scheduler", "takes_scheduler", "--dask-scheduler", "connects to no scheduler"),
)


def executor_of(options: RunOptions, registry: Registry) -> tuple[Executor, dict[str, Any]]:
    """The executor of a run, and the arguments that only some executors take.

    Raises:
        UserError: the executor does not exist, or cannot do what the options ask; the error names executors that can.
    """
    chosen = registry.executor(options.executor, "--executor")
    wanted = {need: getattr(options, need.field) for need in _NEEDS if getattr(options, need.field) is not None}
    for need in wanted:
        if not getattr(chosen, need.capability):
            able = " or ".join(repr(name) for name in _able(registry, need.capability))
            hint = f"use {able}" if able else f"no executor can: leave {need.option} out"
            raise UserError(f"{need.option}: executor {chosen.name!r} {need.refusal}: {hint}")
    return chosen, {need.field: value for need, value in wanted.items()}


def default_executor(registry: Registry, several: bool, options: RunOptions) -> str:
    """The first registered executor that can train several trials at once, if asked, and has what the options need."""
    needs = ["takes_workers"] if several else []
    needs += [need.capability for need in _NEEDS if getattr(options, need.field) is not None]
    able = [
        entry.name for entry in registry.in_order("executors") if all(getattr(entry.component, one) for one in needs)
    ]
    return able[0] if able else options.executor


def workers_at_once(executor: Executor, workers: int | None) -> int:
    """How many trials an executor trains at once."""
    return (workers or automatic_workers()) if executor.takes_workers else 1


def idle_devices(executor: Executor, registry: Registry, devices: int) -> str | None:
    """A note that an executor leaves GPUs of this machine idle, with the executors that use them; None if it does not.

    Args:
        executor: trains the trials.
        registry: where the other executors are.
        devices: how many GPUs there are.
    """
    if executor.uses_several_devices or devices < 2:
        return None
    able = " or ".join(f"--executor {name}" for name in _able(registry, "uses_several_devices"))
    note = f"executor {executor.name!r} uses 1 of {devices} GPUs"
    return f"{note}: {able} uses all" if able else note


def _able(registry: Registry, capability: str) -> list[str]:
    return [entry.name for entry in registry.in_order("executors") if getattr(entry.component, capability)]
