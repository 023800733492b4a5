"""The commands of ``thalweg results``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.cli.options import Json, OneBenchmark, PluginFiles, Raw, ResultsDir

app = typer.Typer(help="Look at results on disk.", no_args_is_help=True, rich_markup_mode=None)


@app.command(name="list")
def list_(benchmark: OneBenchmark = None, results: ResultsDir = None, as_json: Json = False) -> None:
    """List the trials on disk."""
    from thalweg.commands.results.listing import list_command

    raise typer.Exit(list_command(benchmark, results, as_json))


@app.command()
def show(
    trial: Annotated[str, typer.Argument(help="The first digits of a trial's hash.")],
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """Show one trial: its settings, where it ran, and its outcome."""
    from thalweg.commands.results.show import show_command

    show_command(trial, results, as_json)


@app.command()
def verify(
    benchmark: OneBenchmark = None,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move damaged and foreign folders to BENCHMARK/set-aside/.")
    ] = False,
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """Check that every result on disk is whole; exit code 1 if one is not."""
    from thalweg.commands.results.verify import verify_command

    raise typer.Exit(verify_command(benchmark, results, as_json, set_aside))


@app.command()
def compact(benchmark: OneBenchmark = None, results: ResultsDir = None, as_json: Json = False) -> None:
    """Build the index of trials anew, and remove what killed runs left behind."""
    from thalweg.commands.results.compact import compact_command

    raise typer.Exit(compact_command(benchmark, results, as_json))


@app.command()
def delete(
    trials: Annotated[list[str] | None, typer.Argument(help="The first digits of trials' hashes.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Delete all failed trials.")] = False,
    benchmark: Annotated[str | None, typer.Option(help="With --failed: only those of one benchmark.")] = None,
    results: ResultsDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete trials, after a question."""
    from thalweg.commands.results.delete import DeleteOptions, delete_command

    options = DeleteOptions(hashes=tuple(trials or ()), failed=failed, benchmark=benchmark, results=results, sure=yes)
    raise typer.Exit(delete_command(options))


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="A results folder, or one benchmark's folder in it.")],
    out: Annotated[Path, typer.Option(help="The folder to write BENCHMARK.thalweg into.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace packed files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Write each benchmark's results into one file, which every command and the app read in place."""
    from thalweg.commands.results.pack import pack_command

    raise typer.Exit(pack_command(folder, out, force, as_json))


@app.command()
def unpack(
    file: Annotated[Path, typer.Argument(help="A packed file, BENCHMARK.thalweg.")],
    out: Annotated[
        Path | None, typer.Option(help="The results folder to make BENCHMARK/ in, instead of ./results/local.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the benchmark's results that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Restore the folder of a packed file, bit by bit. A run can add trials to a folder only."""
    from thalweg.commands.results.unpack import unpack_command

    raise typer.Exit(unpack_command(file, out, force, as_json))


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The file: .parquet or .csv for the curves, .duckdb for everything.")],
    benchmark: OneBenchmark = None,
    raw: Raw = False,
    results: ResultsDir = None,
) -> None:
    """Write all results into one file for other programs."""
    from thalweg.commands.results.export import export_command

    raise typer.Exit(export_command(out, benchmark, results, raw))


@app.command(name="import")
def import_(
    source: Annotated[Path, typer.Argument(help="A results folder, or a packed file, from another machine.")],
    results: ResultsDir = None,
    as_json: Json = False,
) -> None:
    """Copy trials that are not here yet; a trial that has other numbers here is named and stays."""
    from thalweg.commands.results.import_ import import_command

    raise typer.Exit(import_command(source, results, as_json))


@app.command(name="import-curves")
def import_curves(
    paths: Annotated[list[Path], typer.Argument(help="Files of other tools, or folders with such files.")],
    benchmark: Annotated[str, typer.Option(help="The name under which the runs are kept.")],
    into: Annotated[
        Path | None, typer.Option("--into", help="Results folder: else $THALWEG_RESULTS, else ./results/local.")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="auto, or an importer's name: see 'thalweg list importers'.")
    ] = "auto",
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="optimizer=KEY, seed=KEY, workload=KEY or valid.accuracy=KEY. Repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="What all runs have: optimizer=adam. Repeatable.")
    ] = None,
    better: Annotated[
        list[str] | None, typer.Option("--better", help="METRIC=higher or METRIC=lower. Repeatable.")
    ] = None,
    template: Annotated[
        str, typer.Option("--paths", help="What the ends of paths say: '{optimizer}/{seed}/metrics.csv'.")
    ] = "",
    mapping: Annotated[Path | None, typer.Option(help="A mapping that --save-mapping wrote.")] = None,
    save_mapping: Annotated[Path | None, typer.Option(help="Keep the mapping in a file.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="The metric that ranks: NAME, or WORKLOAD=NAME. Repeatable.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="A value of it to reach: NUMBER, or WORKLOAD=NUMBER. Repeatable.")
    ] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Equal seeds of two optimizers had the same start and data.")
    ] = False,
    steps_per_epoch: Annotated[
        float | None, typer.Option(help="The optimization steps of an epoch, where a source counts epochs.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="A run takes the place of another one of its optimizer and seed.")
    ] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported, and write nothing.")] = False,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Import training curves of other tools as trials, for leaderboards, comparisons, reports and the app."""
    from thalweg.commands.results.import_curves import CurvesOptions, import_curves_command

    options = CurvesOptions(
        paths=tuple(paths),
        benchmark=benchmark,
        format=format_,
        into=into,
        map=tuple(map_ or ()),
        set=tuple(set_ or ()),
        better=tuple(better or ()),
        template=template,
        mapping=mapping,
        save_mapping=save_mapping,
        metric=tuple(metric or ()),
        target=tuple(target or ()),
        paired=paired,
        steps_per_epoch=steps_per_epoch,
        replace=replace,
        dry=dry,
        as_json=as_json,
        plugins=tuple(plugin or ()),
    )
    raise typer.Exit(import_curves_command(options))
