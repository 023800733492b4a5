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
            help="Train a part: optimizer=adam,sgd or workload=... or seed=... A name also selects its --with variants."
        ),
    ] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="Add: optimizer=NAME:lr=0.1")] = None,
    device: Annotated[str, typer.Option(help="auto (cuda where there is one, else cpu), cpu, cuda or mps.")] = "auto",
    executor: Annotated[
        str | None,
        typer.Option(help="Who trains the trials: see 'thalweg list executors'. Default: the first that can do it."),
    ] = None,
    jobs: Annotated[
        str | None, typer.Option("-j", "--jobs", help="How many trials at once: a number, or auto for this machine.")
    ] = None,
    dask_scheduler: Annotated[
        str | None, typer.Option(help="With --executor dask: the address of a scheduler, such as tcp://host:8786.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds after which a trial is stopped and counts as failed.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0.1, help="GB of memory that a worker may use; by default its share of the free memory."),
    ] = None,
    results: ResultsDir = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train everything again.")] = False,
    keep: Annotated[
        str | None,
        typer.Option(help="Weights to keep: weights (first and last), or trajectory (at each evaluation)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the trials, which are done, and how long the others may take.")
    ] = False,
    timed: Annotated[
        bool, typer.Option("--timed", help="After the trials, time a step of each optimizer with nothing else running.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    no_batching: Annotated[
        bool, typer.Option("--no-batching", help="Train each trial alone, and not several as one program.")
    ] = False,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Run a benchmark. Trials that are on disk are not trained again."""
    from thalweg.commands.run import RunArguments, run_command

    arguments = RunArguments(
        benchmark=benchmark,
        seeds=seeds,
        only=tuple(only or ()),
        extra=tuple(with_ or ()),
        device=device,
        executor=executor,
        jobs=jobs,
        scheduler=dask_scheduler,
        timeout=timeout,
        memory=memory,
        results=results,
        fresh=fresh,
        keep=keep,
        plugins=tuple(plugin or ()),
        dry=dry_run,
        timed=timed,
        quiet=quiet,
        batching=not no_batching,
        as_json=as_json,
    )
    raise typer.Exit(run_command(arguments))
