"""``thalweg results show``."""

from __future__ import annotations

import json
from pathlib import Path

from thalweg.commands.results.find import find_trial
from thalweg.console import console, errors, print_json
from thalweg.present import notes
from thalweg.store.documents import finite
from thalweg.store.overlay import laid_over
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root


def show_command(hash_: str, results: Path | None, as_json: bool) -> None:
    """Print the document of a trial; ``measured_here`` has the probes that are laid over a packed trial."""
    root = results_root(results)
    benchmark, trial = find_trial(hash_, root)
    document = json.loads(trial.document.to_json())
    laid = laid_over(BenchmarkResults(root, benchmark))
    if here := laid.probes.get(trial.document.hash):
        document["measured_here"] = finite({key: probe.model_dump(mode="json") for key, probe in here.items()})
    if note := notes.ignored(laid, trial.document.hash):
        for text in (note.text, *note.items):
            errors().print(text, markup=False)
    if as_json:
        print_json({**document, "path": str(trial.path)})
        return
    console().print(f"{trial.path}", style="bold", markup=False)
    console().print_json(json.dumps(document))
