"""The command line. Commands import what they need themselves: ``thalweg --help`` must not wait for torch."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from thalweg import __version__
from thalweg.allocator import set_allocator
from thalweg.errors import LONGEST, UserError
from thalweg.shown import cut, shown

app = typer.Typer(
    name="thalweg",
    help="Benchmark optimizers of deep networks, and look at their loss landscapes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
results_app = typer.Typer(help="Look at results on disk.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(results_app, name="results")

ResultsDir = Annotated[
    Path | None,
    typer.Option("--results", help="Results folder or packed file: else $THALWEG_RESULTS, else ./results/local."),
]
PluginFiles = Annotated[list[Path] | None, typer.Option("--plugin", help="Load a plugin file too. Repeatable.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="CSV with texts as they are, also where a spreadsheet would compute them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def main() -> None:
    """Run the command line: exit 2 with one line for a user's mistake, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign gets a question mark
    try:
        set_allocator()
        # without standalone mode click returns the code of typer.Exit
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UserError as error:
        _mistake(str(error))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # whoever read has read enough; the interpreter must not try to flush the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _mistake(f"{cut(str(error.filename))}: {error.strerror}")
    except Exception as error:
        _usage_error(error)


def _mistake(text: str) -> NoReturn:
    """Say in one line, which is not longer than anyone reads, what the user can put right."""
    typer.echo(cut(f"error: {shown(text)}", LONGEST), err=True)
    sys.exit(2)


def _usage_error(error: Exception) -> None:
    """Click's own usage errors show themselves; anything else is a bug and keeps its traceback."""
    show = getattr(error, "show", None)
    if show is None:
        raise error
    if isinstance(said := getattr(error, "message", None), str):
        error.message = cut(shown(said), LONGEST)  # type: ignore[attr-defined]
    show()
    sys.exit(getattr(error, "exit_code", 2))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thalweg {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version.")] = False,
) -> None:
    """Benchmark optimizers of deep networks, and look at their loss landscapes."""


@app.command()
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


@app.command()
def probe(
    trial: Annotated[str, typer.Argument(help="The first digits of a trial's hash: see 'thalweg results list'.")],
    probe: Annotated[str, typer.Argument(help="A probe's name: see 'thalweg list probes'.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting: resolution=51. Repeatable.")] = None,
    other: Annotated[str | None, typer.Option(help="The other trial's hash, for probes that compare two.")] = None,
    results: ResultsDir = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again.")] = False,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Measure a probe on a trial that was saved with its weights, without training it again."""
    from thalweg.commands.probe import probe_command

    raise typer.Exit(probe_command(trial, probe, set_ or [], other, results, fresh, plugin or [], as_json))


@app.command(name="list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="optimizers, architectures, problems, probes, ...")] = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """List what is registered."""
    from thalweg.commands.inspect import list_command

    list_command(kind, plugin or [], as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The name of anything that 'thalweg list' lists.")],
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Tell what something is: equation, options, source, and who provides it."""
    from thalweg.commands.inspect import show_command

    show_command(name, plugin or [], as_json)


@app.command()
def leaderboard(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name, or the path of a TOML file.")],
    workload: Annotated[str | None, typer.Option(help="One workload only.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Rank by a metric, or training_loss, area_under_curve, stability, steps_to_target, ..."),
    ] = None,
    over_all: Annotated[bool, typer.Option("--over-all", help="One ranking over all workloads with a target.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="As for 'run'.")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="As for 'run'.")] = None,
    format_: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table",
    raw: Raw = False,
    results: ResultsDir = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Rank the optimizers of a benchmark on each workload."""
    from thalweg.commands.leaderboard import leaderboard_command

    kind = "json" if as_json else format_
    raise typer.Exit(
        leaderboard_command(benchmark, workload, metric, seeds, with_ or [], kind, results, plugin or [], over_all, raw)
    )


@app.command()
def compare(
    baseline: Annotated[str, typer.Argument(help="A results folder or packed file, or FOLDER:OPTIMIZER.")],
    candidate: Annotated[str, typer.Argument(help="Another one, or FOLDER:OPTIMIZER.")],
    benchmark: Annotated[str | None, typer.Option(help="Which, where a folder has results of several.")] = None,
    metric: Annotated[str | None, typer.Option(help="Compare this metric or cost only, as for 'leaderboard'.")] = None,
    margin: Annotated[
        list[str] | None, typer.Option(help="What is still the same: 1pp for accuracies, 10% for others. Repeatable.")
    ] = None,
    allow_different_machines: Annotated[
        bool, typer.Option("--allow-different-machines", help="Compare seconds of different machines.")
    ] = False,
    format_: Annotated[str, typer.Option("--format", help="table, markdown, json or junit.")] = "table",
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Tell whether a candidate is worse than a baseline, seed by seed; exit code 1 if so."""
    from thalweg.commands.compare import compare_command

    kind = "json" if as_json else format_
    raise typer.Exit(
        compare_command(
            baseline, candidate, benchmark, metric, margin or [], allow_different_machines, kind, plugin or []
        )
    )


@app.command()
def tuning(
    benchmark: Annotated[str, typer.Argument(help="A benchmark with [tuning]: its name, or the path of a TOML file.")],
    results: ResultsDir = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Tell the best settings of a benchmark that tunes, and what finding them took."""
    from thalweg.commands.tuning import tuning_command

    raise typer.Exit(tuning_command(benchmark, results, plugin or [], as_json))


@app.command()
def report(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name, or the path of a TOML file.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    results: ResultsDir = None,
    plugin: PluginFiles = None,
) -> None:
    """Write leaderboards and charts into one HTML file that needs nothing else."""
    from thalweg.commands.report import report_command

    raise typer.Exit(report_command(benchmark, out, results, plugin or []))


@app.command()
def plugins(plugin: PluginFiles = None, as_json: Json = False) -> None:
    """List every plugin, what it registered, what failed and why."""
    from thalweg.commands.inspect import plugins_command

    plugins_command(plugin or [], as_json)


@app.command()
def doctor(results: ResultsDir = None, plugin: PluginFiles = None, as_json: Json = False) -> None:
    """Check the installation: device, versions, results folder, plugin failures."""
    from thalweg.commands.inspect import doctor_command

    raise typer.Exit(doctor_command(results, plugin or [], as_json))


@app.command(name="app")
def app_(
    results: ResultsDir = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine.")] = 8501,
    plugin: PluginFiles = None,
    token: Annotated[
        bool, typer.Option("--token/--no-token", help="Show it to whoever has the token in the printed address alone.")
    ] = True,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name besides localhost in its address. Repeatable.")
    ] = None,
) -> None:
    """Open the app: leaderboards, curves, landscapes, trials and plugins in the browser."""
    from thalweg.commands.app import app_command

    raise typer.Exit(app_command(results, port, plugin or [], token, allow_host or []))


@results_app.command(name="list")
def results_list(
    benchmark: Annotated[str | None, typer.Argument(help="One benchmark only.")] = None,
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """List the trials on disk."""
    from thalweg.commands.results import list_command

    raise typer.Exit(list_command(benchmark, results, as_json))


@results_app.command(name="show")
def results_show(
    trial: Annotated[str, typer.Argument(help="The first digits of a trial's hash.")],
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """Show one trial: what was asked, where it ran, what came of it."""
    from thalweg.commands.results import show_command

    show_command(trial, results, as_json)


@results_app.command(name="verify")
def results_verify(
    benchmark: Annotated[str | None, typer.Argument(help="One benchmark only.")] = None,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move what is damaged or foreign to BENCHMARK/set-aside/.")
    ] = False,
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """Check that every result on disk is whole; exit code 1 if not."""
    from thalweg.commands.results import verify_command

    raise typer.Exit(verify_command(benchmark, results, as_json, set_aside))


@results_app.command(name="compact")
def results_compact(
    benchmark: Annotated[str | None, typer.Argument(help="One benchmark only.")] = None,
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """Build the index of trials anew, and remove what killed runs left and nobody needs."""
    from thalweg.commands.manage import compact_command

    raise typer.Exit(compact_command(benchmark, results, as_json))


@results_app.command(name="delete")
def results_delete(
    trials: Annotated[list[str] | None, typer.Argument(help="The first digits of trials' hashes.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    benchmark: Annotated[str | None, typer.Option(help="With --failed: of one benchmark only.")] = None,
    results: ResultsDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete trials, after a question."""
    from thalweg.commands.manage import delete_command

    raise typer.Exit(delete_command(trials or [], benchmark, failed, results, yes))


@results_app.command(name="pack")
def results_pack(
    folder: Annotated[Path, typer.Argument(help="A results folder, or one benchmark's folder in it.")],
    out: Annotated[Path, typer.Option(help="The folder to write BENCHMARK.thalweg into.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace packed files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Write each benchmark's results into one file, which every command and the app read in place."""
    from thalweg.commands.pack import pack_command

    raise typer.Exit(pack_command(folder, out, force, as_json))


@results_app.command(name="unpack")
def results_unpack(
    file: Annotated[Path, typer.Argument(help="A packed file, BENCHMARK.thalweg.")],
    out: Annotated[
        Path | None, typer.Option(help="The results folder to make BENCHMARK/ in, instead of ./results/local.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the benchmark's results that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Make a folder of a packed file again, bit by bit; runs add to folders alone."""
    from thalweg.commands.pack import unpack_command

    raise typer.Exit(unpack_command(file, out, force, as_json))


@results_app.command(name="export")
def results_export(
    out: Annotated[Path, typer.Argument(help="The file: .parquet or .csv for the curves, .duckdb for everything.")],
    benchmark: Annotated[str | None, typer.Argument(help="One benchmark only.")] = None,
    raw: Raw = False,
    results: ResultsDir = None,
) -> None:
    """Write all results into one file for other programs."""
    from thalweg.commands.manage import export_command

    raise typer.Exit(export_command(out, benchmark, results, raw))


@results_app.command(name="import")
def results_import(
    source: Annotated[Path, typer.Argument(help="A results folder, or a packed file, from another machine.")],
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """Take over trials that are not here; those with other numbers are named and stay."""
    from thalweg.commands.manage import import_command

    raise typer.Exit(import_command(source, results, as_json))
