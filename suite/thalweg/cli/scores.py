"""The commands that read results: leaderboards, comparisons, tuning, reports, the app, and further probes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.cli.options import Benchmark, Json, PluginFiles, Raw, ResultsDir

Trial = Annotated[str, typer.Argument(help="The first digits of a trial's hash: see 'thalweg results list'.")]


def probe(
    trial: Trial,
    probe: Annotated[str, typer.Argument(help="A probe's name: see 'thalweg list probes'.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting: resolution=51. Repeatable.")] = None,
    other: Annotated[
        str | None, typer.Option(help="The first digits of another trial's hash, for probes that compare two.")
    ] = None,
    results: ResultsDir = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again.")] = False,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Measure a probe on a trial that was saved with its weights, without training it again."""
    from thalweg.commands.probe import ProbeOptions, probe_command

    options = ProbeOptions(
        trial=trial,
        probe=probe,
        settings=tuple(set_ or ()),
        other=other,
        fresh=fresh,
        results=results,
        plugin_files=tuple(plugin or ()),
        as_json=as_json,
    )
    raise typer.Exit(probe_command(options))


def leaderboard(
    benchmark: Benchmark,
    workload: Annotated[str | None, typer.Option(help="One workload only.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Rank by a metric, or training_loss, area_under_curve, stability, steps_to_target, ..."),
    ] = None,
    over_all: Annotated[
        bool, typer.Option("--over-all", help="Print one ranking over all workloads with a target.")
    ] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="As for 'run'.")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="As for 'run'.")] = None,
    format_: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table",
    raw: Raw = False,
    results: ResultsDir = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Rank the optimizers of a benchmark on each workload."""
    from thalweg.commands.leaderboard import LeaderboardOptions, leaderboard_command

    options = LeaderboardOptions(
        benchmark=benchmark,
        workload=workload,
        metric=metric,
        seeds=seeds,
        extra=tuple(with_ or ()),
        over_all=over_all,
        format="json" if as_json else format_,
        raw=raw,
        results=results,
        plugin_files=tuple(plugin or ()),
    )
    raise typer.Exit(leaderboard_command(options))


def track(
    benchmark: Annotated[str, typer.Argument(help="A benchmark with a [track] table.")] = "language-track",
    add: Annotated[str | None, typer.Option(help="Enter this optimizer as a record, if the rules allow it.")] = None,
    by: Annotated[str | None, typer.Option(help="Who enters the record.")] = None,
    records: Annotated[
        Path | None, typer.Option(help="The file of records: by default BENCHMARK.records.json in the results folder.")
    ] = None,
    results: ResultsDir = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Print how many steps optimizers take to a fixed loss, and enter records."""
    from thalweg.commands.track import TrackArguments, track_command

    arguments = TrackArguments(
        benchmark=benchmark,
        add=add,
        by=by,
        records=records,
        results=results,
        plugin_files=tuple(plugin or ()),
        as_json=as_json,
    )
    raise typer.Exit(track_command(arguments))


def compare(
    baseline: Annotated[str, typer.Argument(help="A results folder or packed file, or FOLDER:OPTIMIZER.")],
    candidate: Annotated[str, typer.Argument(help="Another results folder, or FOLDER:OPTIMIZER.")],
    benchmark: Annotated[
        str | None, typer.Option(help="Which benchmark, where a folder has results of several.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Compare only this metric or cost, named as for 'leaderboard'.")
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            help="Differences up to this are none: 1pp or 50%error for accuracies, 10% for others. Repeatable."
        ),
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Take equal seeds of both sides as independent, not as pairs.")
    ] = False,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="End with exit code 0 where the seeds decide nothing.")
    ] = False,
    format_: Annotated[str, typer.Option("--format", help="table, markdown, json or junit.")] = "table",
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Tell whether a candidate is worse than a baseline, seed by seed: exit code 1 if it is, 4 if undecided."""
    from thalweg.commands.compare import CompareOptions, compare_command

    options = CompareOptions(
        baseline=baseline,
        candidate=candidate,
        benchmark=benchmark,
        metric=metric,
        margins=tuple(margin or ()),
        paired=not unpaired,
        allow_undecided=allow_undecided,
        format="json" if as_json else format_,
        plugin_files=tuple(plugin or ()),
    )
    raise typer.Exit(compare_command(options))


def gate(
    baseline: Annotated[Path, typer.Argument(help="The results folder of the baseline; it may be new.")],
    candidate: Annotated[Path, typer.Argument(help="The results folder of the candidate; it may be new.")],
    benchmark: Annotated[str, typer.Option(help="The benchmark: its name, or the path of a TOML file.")],
    max_seeds: Annotated[int, typer.Option(min=2, help="The most seeds of each side.")] = 40,
    metric: Annotated[
        str | None, typer.Option(help="Compare only this metric or cost, named as for 'leaderboard'.")
    ] = None,
    margin: Annotated[list[str] | None, typer.Option(help="As for 'compare'. Repeatable.")] = None,
    plugin_baseline: Annotated[
        list[Path] | None, typer.Option(help="A plugin file of the baseline. Repeatable.")
    ] = None,
    plugin_candidate: Annotated[
        list[Path] | None, typer.Option(help="A plugin file of the candidate. Repeatable.")
    ] = None,
    python_baseline: Annotated[
        str, typer.Option(metavar="PATH", help="The Python of another environment, which trains the baseline.")
    ] = "",
    jobs: Annotated[str | None, typer.Option("--jobs", "-j", help="As for 'run'.")] = None,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="End with exit code 0 where the seeds decide nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    format_: Annotated[str, typer.Option("--format", help="table, markdown, json or junit.")] = "table",
    as_json: Json = False,
) -> None:
    """Train baseline and candidate with as many seeds as it takes to tell whether the candidate is worse."""
    from thalweg.commands.gate import GateOptions, gate_command

    options = GateOptions(
        baseline=baseline,
        candidate=candidate,
        benchmark=benchmark,
        max_seeds=max_seeds,
        metric=metric,
        margins=tuple(margin or ()),
        allow_undecided=allow_undecided,
        format="json" if as_json else format_,
        plugins_baseline=tuple(plugin_baseline or ()),
        plugins_candidate=tuple(plugin_candidate or ()),
        python_baseline=python_baseline,
        jobs=jobs,
        quiet=quiet,
    )
    raise typer.Exit(gate_command(options))


def time(
    baseline: Annotated[str, typer.Argument(help="A results folder or packed file, or FOLDER:OPTIMIZER.")],
    candidate: Annotated[str, typer.Argument(help="Another results folder, or FOLDER:OPTIMIZER.")],
    benchmark: Annotated[
        str | None, typer.Option(help="Which benchmark, where a folder has results of several.")
    ] = None,
    workload: Annotated[str | None, typer.Option(help="One workload only.")] = None,
    blocks: Annotated[int, typer.Option(min=2, help="Blocks of steps of each side, a tenth of a second each.")] = 20,
    margin: Annotated[list[str] | None, typer.Option(help="As for 'compare'. Repeatable.")] = None,
    plugin_baseline: Annotated[
        list[Path] | None, typer.Option(help="A plugin file of the baseline. Repeatable.")
    ] = None,
    plugin_candidate: Annotated[
        list[Path] | None, typer.Option(help="A plugin file of the candidate. Repeatable.")
    ] = None,
    python_baseline: Annotated[
        str, typer.Option(metavar="PATH", help="The Python of another environment, in which the baseline is timed.")
    ] = "",
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="End with exit code 0 where the blocks decide nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    format_: Annotated[str, typer.Option("--format", help="table, markdown, json or junit.")] = "table",
    as_json: Json = False,
) -> None:
    """Time the steps of a baseline and a candidate in turn, and tell whether the candidate is slower."""
    from thalweg.commands.time import TimeOptions, time_command

    options = TimeOptions(
        baseline=baseline,
        candidate=candidate,
        benchmark=benchmark,
        workload=workload,
        blocks=blocks,
        margins=tuple(margin or ()),
        allow_undecided=allow_undecided,
        format="json" if as_json else format_,
        plugins_baseline=tuple(plugin_baseline or ()),
        plugins_candidate=tuple(plugin_candidate or ()),
        python_baseline=python_baseline,
        quiet=quiet,
    )
    raise typer.Exit(time_command(options))


def tuning(
    benchmark: Annotated[str, typer.Argument(help="A benchmark with [tuning]: its name, or the path of a TOML file.")],
    results: ResultsDir = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Print the best settings of a benchmark that tunes, and the cost of finding them."""
    from thalweg.commands.tuning import tuning_command

    raise typer.Exit(tuning_command(benchmark, results, plugin or [], as_json))


def report(
    benchmark: Benchmark,
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    results: ResultsDir = None,
    plugin: PluginFiles = None,
) -> None:
    """Write leaderboards and charts into one HTML file that needs no other file."""
    from thalweg.report.command import report_command

    raise typer.Exit(report_command(benchmark, out, results, plugin or []))


def app(
    results: ResultsDir = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine.")] = 8501,
    plugin: PluginFiles = None,
    token: Annotated[
        bool, typer.Option("--token/--no-token", help="Show the app only to users who have the token of its address.")
    ] = True,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name besides localhost that the app's address may have. Repeatable."),
    ] = None,
    read_only: Annotated[
        bool | None,
        typer.Option(
            "--read-only/--measure",
            help="Whether visitors may only look, or also measure probes. Default: only look, with --allow-host.",
        ),
    ] = None,
) -> None:
    """Open the app: leaderboards, curves, landscapes, trials and plugins in the browser."""
    from thalweg.app.command import AppOptions, app_command

    options = AppOptions(
        results=results,
        port=port,
        plugin_files=tuple(plugin or ()),
        with_token=token,
        hosts=tuple(allow_host or ()),
        read_only=read_only,
    )
    raise typer.Exit(app_command(options))
