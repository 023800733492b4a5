"""``thalweg look``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.cli.options import Json, PluginFiles


def look(
    probe: Annotated[str, typer.Argument(help="A probe's name: see 'thalweg list probes'.")],
    module: Annotated[str, typer.Option(help="FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION that makes the network.")],
    data: Annotated[Path, typer.Option(help="An .npz, .safetensors or .pt with inputs x and targets y.")],
    loss: Annotated[str, typer.Option(help="cross_entropy, mse, binary_cross_entropy_with_logits, ...")],
    out: Annotated[Path, typer.Option(help="The folder for the table and the chart.")],
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint: .safetensors, or a state_dict of torch.save.")
    ] = None,
    initial: Annotated[Path | None, typer.Option(help="The checkpoint where training began, for 'line'.")] = None,
    other: Annotated[Path | None, typer.Option(help="The checkpoint of a second network, for probes of two.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting: resolution=51. Repeatable.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--parameters", help="A parameter or a module: only these move. Repeatable.")
    ] = None,
    mode: Annotated[str, typer.Option(help="train or eval: the mode of the pass of gradient-flow.")] = "train",
    seed: Annotated[int, typer.Option(help="Of random directions and vectors.")] = 0,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Measure a probe on a network of your own: its code, a checkpoint and a file of data."""
    from thalweg.commands.look import LookOptions, look_command

    options = LookOptions(
        probe=probe,
        module=module,
        data=data,
        loss=loss,
        out=out,
        weights=weights,
        initial=initial,
        other=other,
        settings=tuple(set_ or ()),
        parameters=tuple(parameters or ()),
        mode=mode,
        seed=seed,
        plugin_files=tuple(plugin or ()),
        as_json=as_json,
    )
    raise typer.Exit(look_command(options))
