"""``thalweg results show``."""

from __future__ import annotations

import json
from pathlib import Path

from thalweg.commands.results.find import find_trial
from thalweg.console import console, print_json
from thalweg.store.roots import results_root


def show_command(hash_: str, results: Path | None, as_json: bool) -> None:
    """Print the document of a trial."""
    _, trial = find_trial(hash_, results_root(results))
    document = json.loads(trial.document.to_json())
    if as_json:
        print_json({**document, "path": str(trial.path)})
        return
    console().print(f"{trial.path}", style="bold", markup=False)
    console().print_json(json.dumps(document))
