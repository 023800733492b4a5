"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Benchmark = Annotated[str, typer.Argument(help="A benchmark's name, or the path of a TOML file.")]
OneBenchmark = Annotated[str | None, typer.Argument(help="One benchmark only.")]
ResultsDir = Annotated[
    Path | None,
    typer.Option("--results", help="Results folder or packed file: else $THALWEG_RESULTS, else ./results/local."),
]
PluginFiles = Annotated[list[Path] | None, typer.Option("--plugin", help="Load a plugin file too. Repeatable.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="CSV with unchanged texts, even where a spreadsheet would compute them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
