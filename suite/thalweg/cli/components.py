"""The commands about the installation: its components, its plugins, and the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from thalweg.cli.options import Json, PluginFiles, ResultsDir


def list_(
    kind: Annotated[str | None, typer.Argument(help="optimizers, architectures, problems, probes, ...")] = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """List the registered components."""
    from thalweg.commands.components import list_command

    list_command(kind, plugin or [], as_json)


def show(
    name: Annotated[str, typer.Argument(help="The name of a component: see 'thalweg list'.")],
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Describe a component: equation, options, source and provider."""
    from thalweg.commands.components import show_command

    show_command(name, plugin or [], as_json)


def plugins(plugin: PluginFiles = None, as_json: Json = False) -> None:
    """List every plugin, what it registered, and why it failed."""
    from thalweg.commands.plugins import plugins_command

    plugins_command(plugin or [], as_json)


def doctor(results: ResultsDir = None, plugin: PluginFiles = None, as_json: Json = False) -> None:
    """Check the installation: device, versions, results folder, plugin failures."""
    from thalweg.commands.doctor import doctor_command

    raise typer.Exit(doctor_command(results, plugin or [], as_json))
