"""The commands of claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.cli.options import Json, PluginFiles, ResultsDir
from thalweg.errors import UserError

Ids = Annotated[list[str] | None, typer.Argument(help="Claims, such as A2, or sections, such as A. Default: all.")]
Tier = Annotated[str, typer.Option(help="quick (two CPU cores), cpu (Fashion-MNIST, hours) or full (a GPU).")]

app = typer.Typer(help="Statements about optimization, decided by measurements.", invoke_without_command=True)


@app.callback()
def _claims(
    context: typer.Context, tier: Tier = "quick", results: ResultsDir = None, plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """List the claims with their verdicts; the other commands run, show, report and draw them."""
    if context.invoked_subcommand is not None:
        given = {"--tier": tier != "quick", "--results": results is not None, "--plugin": plugin, "--json": as_json}
        for name in (name for name, there in given.items() if there):
            raise UserError(
                f"{name}: give it after the command: thalweg claims {context.invoked_subcommand} {name} ..."
            )
    else:
        from thalweg.commands.claims import ClaimsArguments, list_command

        arguments = ClaimsArguments((), tier, results, tuple(plugin or ()))
        raise typer.Exit(list_command(arguments, as_json))


@app.command()
def run(
    ids: Ids = None,
    tier: Tier = "quick",
    jobs: Annotated[
        str | None, typer.Option("-j", "--jobs", help="How many trials or claims at once: a number, or auto.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto (cuda where there is one, else cpu), cpu, cuda or mps.")] = "auto",
    results: ResultsDir = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again; trials on disk are not trained again.")
    ] = False,
    no_batching: Annotated[
        bool, typer.Option("--no-batching", help="Train each trial alone, and not several as one program.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Train what the claims need and measure them. What is on disk is not done again."""
    from thalweg.commands.claims import ClaimsArguments, run_command

    arguments = ClaimsArguments(tuple(ids or ()), tier, results, tuple(plugin or ()))
    raise typer.Exit(run_command(arguments, jobs, device, not no_batching, fresh, quiet, as_json))


@app.command()
def show(
    ids: Ids = None, tier: Tier = "quick", results: ResultsDir = None, plugin: PluginFiles = None, as_json: Json = False
) -> None:
    """Print a claim: statement, method, parts with intervals and bounds, verdict, condition, cost."""
    from thalweg.commands.claims import ClaimsArguments, show_command

    arguments = ClaimsArguments(tuple(ids or ()), tier, results, tuple(plugin or ()))
    raise typer.Exit(show_command(arguments, as_json))


@app.command()
def report(
    ids: Ids = None,
    tier: Tier = "quick",
    format_: Annotated[str, typer.Option("--format", help="table, markdown, json or html.")] = "table",
    out: Annotated[Path | None, typer.Option(help="The file of --format html: claims.html by default.")] = None,
    results: ResultsDir = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Print the ledger of claims, or write it with its pictures as one HTML file."""
    from thalweg.commands.claims import ClaimsArguments, report_command

    arguments = ClaimsArguments(tuple(ids or ()), tier, results, tuple(plugin or ()))
    if out is not None and (format_ != "html" or as_json):
        raise UserError("--out: is the file of --format html; other formats are printed")
    if format_ == "html" and not as_json:
        from thalweg.report.claims import html_command

        rows = arguments.rows(arguments.registry())
        raise typer.Exit(html_command(rows, out or Path("claims.html"), tier))
    raise typer.Exit(report_command(arguments, "json" if as_json else format_))


@app.command()
def figures(
    ids: Ids = None,
    out: Annotated[Path, typer.Option(help="The folder to draw into.")] = Path("figures"),
    tier: Tier = "quick",
    results: ResultsDir = None,
    plugin: PluginFiles = None,
) -> None:
    """Draw the lecture's figures again from the measurements."""
    from thalweg.commands.claims import ClaimsArguments, figures_command

    arguments = ClaimsArguments(tuple(ids or ()), tier, results, tuple(plugin or ()))
    raise typer.Exit(figures_command(arguments, out))
