"""``thalweg run``."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from thalweg.benchmark_file import Keep
from thalweg.commands.leaderboard import print_leaderboard
from thalweg.commands.progress import make_progress
from thalweg.console import console, errors, print_json, warn_of_failures
from thalweg.errors import UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.expand import optimizers_of
from thalweg.kept import find_benchmark
from thalweg.memory import GB
from thalweg.registry import Registry, load_registry
from thalweg.runner.finding import find_out
from thalweg.runner.interrupts import interruptible
from thalweg.runner.options import RunOptions, default_executor
from thalweg.runner.run import run_benchmark
from thalweg.runner.stacking import Rule
from thalweg.runner.timed import time_benchmark
from thalweg.runner.tuned import run_to_the_end
from thalweg.selection import DEVICES, Device, Selection
from thalweg.shown import brief
from thalweg.stacking import Stacks, alone
from thalweg.store.index import read_counted
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root
from thalweg.tuning.plan import plan_of


@dataclass(frozen=True)
class RunArguments:
    """The arguments of ``thalweg run``, as the user gave them."""

    benchmark: str
    seeds: int | None = None
    only: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    device: str = "auto"
    executor: str | None = None
    jobs: str | None = None
    scheduler: str | None = None
    timeout: float | None = None
    """Seconds."""
    memory: float | None = None
    """GB."""
    results: Path | None = None
    fresh: bool = False
    keep: str | None = None
    plugins: tuple[Path, ...] = ()
    dry: bool = False
    timed: bool = False
    quiet: bool = False
    batching: bool = True
    as_json: bool = False


@interruptible()
def run_command(arguments: RunArguments) -> ExitCode:
    """Run a benchmark, then print the leaderboard of its trials; the exit code."""
    registry = load_registry(arguments.plugins)
    # plugins that were asked for by name; others are an error only where the benchmark needs them
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    root = results_root(arguments.results)
    benchmark = find_benchmark(arguments.benchmark, registry, root)
    stored_in = BenchmarkResults(root, benchmark.name)
    rule = Rule(registry, stored_in)
    stacks: Stacks = rule if arguments.batching else alone
    device = choose_device(arguments.device)
    selection = Selection(arguments.seeds, arguments.extra, arguments.only, device, _keep(arguments.keep), stacks)
    if not arguments.dry:
        find_out(optimizers_of(benchmark, selection), registry, lambda text: errors().print(text, markup=False))
    plan = plan_of(benchmark, registry, selection, read_counted(stored_in))
    for reason in rule.false:
        errors().print(f"{reason}: it says elementwise = True, and its trials train one at a time", markup=False)
    options = _options(arguments, registry)
    if arguments.dry:
        from thalweg.commands.dry_run import dry_run

        return dry_run(plan, registry, root, options, arguments.as_json)
    progress = make_progress(arguments.quiet)
    try:
        with output_to_errors():
            plan, report = run_to_the_end(
                plan,
                lambda: plan_of(benchmark, registry, selection, read_counted(stored_in)),
                lambda plan: run_benchmark(benchmark, plan, registry, root, progress, options),
                registry,
                progress.say,
            )
            if arguments.timed and report.outcome == "complete":
                report.errors |= time_benchmark(plan, registry, root, options.fresh, progress.say)
    finally:
        rule.keep()
        progress.close()
    if arguments.as_json:
        print_json(report.document() | {"hashes": [one.trial.hash for one in (*plan.trials, *plan.tuning)]})
    else:
        print_leaderboard(plan, stored_in, benchmark.spec.ladders)
        document = report.document()["trials"]
        words = [f"{document['trained']} trained", f"{document['cached']} done before"]
        words += [f"{document[key]} {key}" for key in ("diverged", "failed") if document[key]]
        head = "interrupted; " if report.outcome == "interrupted" else ""
        line = f"{head}{document['total']} trials: {', '.join(words)}; {report.seconds:.1f} s; results in {root}"
        console().print()
        console().print(line)
    if report.outcome == "interrupted":
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if report.failures else ExitCode.DONE


def _options(arguments: RunArguments, registry: Registry) -> RunOptions:
    """How the trials are trained: what the user asks for, by an executor that can do it."""
    workers = workers_of(arguments.jobs)
    for option, amount in (("--timeout", arguments.timeout), ("--memory", arguments.memory)):
        if amount is not None and not math.isfinite(amount):
            raise UserError(f"{option}: {amount:g} is no amount: leave the option out for no limit")
    options = RunOptions(
        workers=workers,
        timeout=arguments.timeout,
        memory=None if arguments.memory is None else int(arguments.memory * GB),
        fresh=arguments.fresh,
    )
    several = arguments.jobs is not None and workers != 1
    executor = arguments.executor or default_executor(registry, several, options)
    if arguments.executor is None and arguments.jobs is None:
        options = replace(options, workers=1)  # limits alone ask for no trials at once
    # a scheduler is looked for by the executor that was asked for, and never decides which executor that is
    return replace(options, executor=executor, scheduler=arguments.scheduler)


@contextlib.contextmanager
def output_to_errors() -> Iterator[None]:
    """What plugins print while they train, from C too, goes where the progress goes."""
    sys.stdout.flush()
    with contextlib.redirect_stdout(sys.stderr):
        kept = os.dup(1)
        os.dup2(2, 1)
        try:
            yield
        finally:
            if os.name == "posix":
                ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)


def workers_of(text: str | None) -> int | None:
    """How many at once; None leaves it to the executor."""
    if text in (None, "auto"):
        return None
    try:
        workers = int(text or "")
    except ValueError:
        workers = 0
    if workers < 1:
        raise UserError(f"-j: {brief(text)} is no number of workers: give 1 or more, or auto")
    return workers


def _keep(text: str | None) -> Keep | None:
    for choice in get_args(Keep):
        if text == choice:
            return choice  # type: ignore[no-any-return]
    if text is not None:
        raise UserError(f"--keep: {unknown('choice', text, get_args(Keep))}")
    return None


def choose_device(device: str) -> Device:
    """The device to train on; ``auto`` takes CUDA where there is one."""
    if device == "cpu":
        return "cpu"
    if device not in ("auto", *DEVICES):
        raise UserError(f"--device: {unknown('device', device, ('auto', *DEVICES))}")
    if device == "mps":
        import torch

        if not torch.backends.mps.is_available():
            raise UserError("--device mps: torch sees no MPS device here")
        return "mps"
    if cuda_present():
        return "cuda"
    if device == "cuda":
        raise UserError("--device cuda: torch sees no CUDA device here")
    return "cpu"


def cuda_present() -> bool:
    """Whether torch can use a CUDA device. A machine without the driver is told apart without importing torch."""
    import importlib.util

    if not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg")) and Path("/dev").exists():
        return False
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
