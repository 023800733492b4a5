"""The command that trains."""

from __future__ import annotations

from typing import Annotated

import typer

from thalweg.cli.options import Json, PluginFiles, ResultsDir


def run(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name, or the path of a TOML file.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1 instead of the benchmark's own.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Filter: optimizer=adam,sgd or workload=... or seed=... An optimizer also lets its --with by."
        ),
    ] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="Add: optimizer=NAME:lr=0.1")] = None,
    device: Annotated[str, typer.Option(help="auto (cuda where there is one, else cpu), cpu, cuda or mps.")] = "auto",
    executor: Annotated[
        str | None, typer.Option(help="How trials are run: see 'thalweg list executors'. With -j: processes.")
    ] = None,
    jobs: Annotated[
        str | None, typer.Option("-j", "--jobs", help="How many trials at once: a number, or auto for this machine.")
    ] = None,
    dask_scheduler: Annotated[
        str | None, typer.Option(help="With --executor dask: the address of a scheduler, as tcp://host:8786.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds after which a trial is stopped, and failed.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0.1, help="GB of memory that a worker may use: else its share of what is free."),
    ] = None,
    results: ResultsDir = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train everything again.")] = False,
    keep: Annotated[
        str | None, typer.Option(help="Keep of every trial: weights (first and last), or trajectory (all evaluated).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the trials, what is done, and how long the rest may take.")
    ] = False,
    timed: Annotated[
        bool, typer.Option("--timed", help="After the trials, time a step of each optimizer with nothing else running.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    no_batching: Annotated[
        bool, typer.Option("--no-batching", help="Train each trial by itself: bitwise the same each time.")
    ] = False,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Run a benchmark: what is done already is not trained again."""
    from thalweg.commands.run import run_command

    raise typer.Exit(
        run_command(
            benchmark,
            seeds,
            only or [],
            with_ or [],
            device,
            executor,
            jobs,
            dask_scheduler,
            timeout,
            memory,
            results,
            fresh,
            keep,
            plugin or [],
            dry_run,
            timed,
            quiet,
            not no_batching,
            as_json,
        )
    )
