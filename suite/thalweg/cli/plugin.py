"""The commands of ``thalweg plugin``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.cli.options import Json

app = typer.Typer(help="Check a plugin, or begin one.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def check(
    plugin: Annotated[str, typer.Argument(help="The name of an installed plugin, or the path of a plugin file.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A check, or a component: only these checks. Repeatable.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="The most seconds that one check may take.")] = 120.0,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="How many checks at once.")] = 1,
    as_json: Json = False,
) -> None:
    """Run the conformance kit over a plugin; exit code 1 if a check failed, 3 if there is nothing to check."""
    from thalweg.commands.plugin_check import check_command

    raise typer.Exit(check_command(plugin, only or [], timeout, jobs, as_json))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Lower-case words joined by hyphens, such as my-optimizer.")],
    kind: Annotated[str, typer.Option(help="optimizer, architecture, problem, probe, claim, executor or importer.")],
    into: Annotated[Path, typer.Option(help="The folder in which to make the package's folder.")] = Path(),
    as_json: Json = False,
) -> None:
    """Make a package with a plugin: a module, tests, README, CI workflow; then print what to do with it."""
    from thalweg.commands.plugin_new import new_command

    new_command(name, kind, into, as_json)
