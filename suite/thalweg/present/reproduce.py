"""The command line that trains a trial again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from thalweg.errors import UserError
from thalweg.expand import Benchmark, load_benchmark
from thalweg.registry import Registry
from thalweg.selection import Selection
from thalweg.stacking import Stacks, alone
from thalweg.store.documents import TrialDocument
from thalweg.store.packed_format import is_packed
from thalweg.tuning.plan import TunedPlan


class Reproduction(NamedTuple):
    """A command, or None, and a note about it."""

    command: str | None
    note: str = ""


def reproduce(
    benchmark: Benchmark, registry: Registry, document: TrialDocument, plan: TunedPlan | None = None
) -> Reproduction:
    """The command that makes exactly one trial of a benchmark with the plugins here, if such a command exists.

    Args:
        benchmark: the benchmark that is kept with the results.
        registry: the plugins here.
        document: the trial's document.
        plan: the benchmark's plan, where the benchmark tunes.
    """
    trial = document.trial
    if plan is not None and any(each.trial.hash == document.hash for each in (*plan.trials, *plan.tuning)):
        pair = ["--only", f"workload={document.workload}", "--only", f"optimizer={document.optimizer}"]
        note = "The benchmark tunes: the command tries the settings that are missing, then trains the best one."
        how = ["--device", trial.device, *(["--no-batching"] if trial.stack is None else [])]
        name = benchmark.name
        if not _is_here(benchmark, registry):
            name, note = f"{name}.toml", f"{_copy_first(benchmark)} {note}"
        return Reproduction(shlex.join(["thalweg", "run", name, *pair, *how]), note)
    label = document.optimizer
    extra = () if label in benchmark.spec.optimizers else (f"optimizer={label}",)
    seeds = trial.seed + 1 if trial.seed >= benchmark.spec.seeds else None
    only = (f"workload={document.workload}", f"optimizer={label}", f"seed={trial.seed}")
    # expand as the trial was trained, in a stack or alone; a run on the same code decides alike
    stacks: Stacks = alone if trial.stack is None else lambda candidate, *_: candidate.stack == trial.stack
    selection = Selection(seeds, extra, only, trial.device, stacks=stacks)
    name, note = benchmark.name, ""
    if not _makes(lambda: load_benchmark(name, registry), registry, selection, document.hash):
        name, note = f"{name}.toml", _copy_first(benchmark)
        if trial.problem.files:
            note += f" It names files by paths relative to itself: {', '.join(trial.problem.files.values())}."
        if not _makes(lambda: benchmark, registry, selection, document.hash):
            return Reproduction(
                None,
                "No command makes exactly this trial here: the benchmark or a plugin is not here, or has changed since "
                "the trial was trained. The trial's settings are listed below.",
            )
    words = ["thalweg", "run", name]
    for text in extra:
        words += ["--with", text]
    for text in only:
        words += ["--only", text]
    if seeds:
        words += ["--seeds", str(seeds)]
    words += ["--device", trial.device, *(["--no-batching"] if trial.stack is None else [])]
    for path in registry.plugin_files:
        if _is_needed(path, registry, document):
            words += ["--plugin", str(path)]
    return Reproduction(shlex.join(words), note)


def leaderboard_command(root: Path, benchmark: str, metric: str | None, workload: str = "") -> str:
    """The command that prints a leaderboard.

    >>> leaderboard_command(Path("results/local"), "quick", "work_to_target", "digits-mlp")
    'thalweg leaderboard quick --results results/local --metric work_to_target --workload digits-mlp'
    """
    words = ["thalweg", "leaderboard", benchmark, "--results", str(root)]
    words += ["--metric", metric] if metric else []
    return shlex.join([*words, *(["--workload", workload] if workload else [])])


def run_command(benchmark: Benchmark, registry: Registry, root: Path, devices: Sequence[str] = ()) -> Reproduction:
    """The command that trains what is missing of a benchmark, into the results root that holds its results.

    Args:
        benchmark: the benchmark that is kept with the results.
        registry: the plugins here.
        root: the results root.
        devices: the kinds of device of the trials that are there; a single kind goes on.
    """
    if benchmark.spec.imported is not None:
        return Reproduction(None, "These runs were imported, so no command here trains more of them.")
    if is_packed(root) or is_packed(benchmark.path.parent):
        return Reproduction(
            None, "These results are packed, and only read: 'thalweg results unpack' makes a folder of them."
        )
    name, note = benchmark.name, ""
    if not _is_here(benchmark, registry):
        name, note = f"{name}.toml", _copy_first(benchmark)
    words = ["thalweg", "run", name, "--results", str(root)]
    words += ["--device", devices[0]] if len(devices) == 1 else []
    words += [word for path in registry.plugin_files for word in ("--plugin", str(path))]
    return Reproduction(shlex.join(words), note)


def _copy_first(benchmark: Benchmark) -> str:
    if is_packed(benchmark.path.parent):
        unpack = shlex.join(["thalweg", "results", "unpack", str(benchmark.path.parent)])
        return f"Its benchmark's file is packed: {unpack}, then copy benchmark.toml to {benchmark.name}.toml first."
    return f"The benchmark's file is kept as {benchmark.path}: copy it to {benchmark.name}.toml first."


def _is_here(benchmark: Benchmark, registry: Registry) -> bool:
    """Whether the benchmark that is registered under this name has an equal file."""
    try:
        return load_benchmark(benchmark.name, registry).text == benchmark.text
    except UserError:
        return False


def _makes(find: Callable[[], Benchmark], registry: Registry, selection: Selection, hash_: str) -> bool:
    """Whether the selection of the benchmark is exactly the trial with that hash."""
    try:
        plan = find().expand(registry, selection)
    except UserError:
        return False
    return [planned.trial.hash for planned in plan.trials] == [hash_]


def _is_needed(path: Path, registry: Registry, document: TrialDocument) -> bool:
    trial = document.trial
    providers = {ref.provider for ref in (trial.problem, trial.architecture, trial.optimizer)}
    return any(record.origin == "file" and record.name in providers and record.name.startswith(path.stem)
               for record in registry.plugins)  # fmt: skip
