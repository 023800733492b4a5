"""``thalweg probe``."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from thalweg.commands.progress import Measuring
from thalweg.commands.results.find import find_trial
from thalweg.console import console, errors, print_json, warn_of_failures
from thalweg.data.digest import sha256
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.plan import PlannedTrial
from thalweg.refs import check_probe, component_ref
from thalweg.registry import Registry, load_registry
from thalweg.runner.extent import check_extents
from thalweg.runner.interrupts import interruptible
from thalweg.selection import parse_settings
from thalweg.store.documents import ProbeDocument
from thalweg.store.files import Files, FolderFiles
from thalweg.store.overlay import Overlay, place_of
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import own_root, results_root
from thalweg.store.tables import is_table
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import read_weights
from thalweg.store.writing import ResultsFolder
from thalweg.trial import ProbeRequest, Trial


@dataclass(frozen=True)
class ProbeOptions:
    """What ``thalweg probe`` is asked for."""

    trial: str
    """The first digits of the trial's hash."""
    probe: str
    settings: tuple[str, ...] = ()
    """The values of ``--set``."""
    other: str | None = None
    """The first digits of another trial's hash, for a probe that compares two."""
    fresh: bool = False
    results: Path | None = None
    plugin_files: tuple[Path, ...] = ()
    as_json: bool = False


@interruptible()
def probe_command(options: ProbeOptions) -> ExitCode:
    """Measure a probe on a saved trial and keep its table there; ``FAILED`` where the probe failed."""
    registry = load_registry(options.plugin_files)
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    root = results_root(options.results)
    benchmark, trial = find_trial(options.trial, root)
    if trial.document.imported is not None:
        raise UserError(f"trial {trial.document.hash}: was imported, and nobody here has its network")
    trial = _usable(trial, registry)
    partner = None if options.other is None else _usable(find_trial(options.other, root)[1], registry)
    name = options.probe
    probe = registry.probe(name)
    if partner is None and set(probe.when) == {"pair"}:
        raise UserError(f"probe {name!r} compares two trials: name the other one with --other")
    if partner is not None and "pair" not in probe.when:
        raise UserError(f"--other: probe {name!r} measures a single trial")
    partner_hash = None if partner is None else partner.document.hash
    ref = component_ref(registry.entry("probes", name), parse_settings(options.settings, "--set"), "--set", _digest)
    check_probe(probe, ref, "--set")
    request = ProbeRequest(label=name, probe=ref, other=partner_hash)
    holder = _holder(root, benchmark)
    files, there = _there(holder, trial, request, options.fresh)
    table = place_of(request.key)
    measured_before = there is not None and there.status == "done" and is_table(files, table) and not options.fresh
    if not measured_before or there is None:
        named = trial.document
        check_extents([PlannedTrial(named.workload, named.optimizer, named.trial, (request,))], registry)
        from thalweg.runner.saved import measure
        from thalweg.training.assembly import active_probes
        from thalweg.training.measure import lacking

        (active,) = active_probes((request,), registry)
        weights = read_weights(trial.files)
        _refuse(lacking(active, weights, partner is not None), trial)
        others = None
        if partner is not None:
            others = read_weights(partner.files)
            _refuse(lacking(active, others, pair=True), partner)
            _same_kind(trial, partner)
        try:
            with contextlib.redirect_stdout(sys.stderr), holder.hold(trial.document.hash), Measuring(name) as progress:
                old = there
                there, found = measure(holder, trial, request, registry, weights, other=others, progress=progress)
                if there.error is None or old is None or old.status != "done":
                    # a failure does not replace an earlier measurement
                    holder.add_probe(trial, there, found)
        except OSError as error:
            raise UserError(f"{holder.path}: cannot be written: {error.strerror}") from error
    document = {
        "trial": trial.document.hash,
        "benchmark": benchmark,
        "probe": name,
        "key": request.key,
        "status": there.status,
        "path": str(files.path / table) if there.status == "done" else None,
        "measured_before": measured_before,
        "cost": there.cost,
        "error": there.error.line if there.error else None,
    }
    if options.as_json:
        print_json(document)
    elif there.error is not None:
        errors().print(f"probe {name!r} failed: {there.error.line}", markup=False)
    else:
        how = "measured before" if measured_before else f"{there.cost.get('seconds', 0):.1f} s"
        d = trial.document
        console().print(f"{name} on {d.workload} · {d.optimizer} · seed {d.trial.seed}: {how}", markup=False)
        console().print(f"{files.path / table}", markup=False)
        console().print("'thalweg app' draws it: page Landscape", markup=False)
    return ExitCode.DONE if there.error is None else ExitCode.FAILED


def _holder(root: Path, benchmark: str) -> ResultsFolder | Overlay:
    """Where the benchmark's tables go: packed results are only read."""
    results = BenchmarkResults(root, benchmark)
    return Overlay(own_root(), results) if results.packed else ResultsFolder(root, benchmark)


def _there(
    holder: ResultsFolder | Overlay, trial: StoredTrial, request: ProbeRequest, fresh: bool
) -> tuple[Files, ProbeDocument | None]:
    """The files that have or get the probe's table, and what was measured before.

    Raises:
        UserError: the packed trial has the table, and is to be measured anew; or an overlay is there that does not
            belong to the trial.
    """
    hash_ = trial.document.hash
    there = trial.document.probes.get(request.key)
    if isinstance(holder, ResultsFolder):
        return trial.files, there
    if there is not None and there.status == "done":
        if fresh:
            packed = holder.results.path
            raise UserError(f"--fresh: {packed} has this probe of trial {hash_}, and packed results are only read")
        return trial.files, there
    laid = holder.read()
    for one in laid.ignored:
        if one.path == holder.folder(hash_):
            raise UserError(f"{one.path} is not used: {one.reason}: move the folder away to measure anew")
    return FolderFiles(holder.folder(hash_)), laid.probes.get(hash_, {}).get(request.key)


def _digest(path: str) -> str:
    """The digest of a file that an option names; UserError where the file cannot be read."""
    return f"sha256:{sha256(Path(path))}"


def _usable(trial: StoredTrial, registry: Registry) -> StoredTrial:
    """The trial itself; UserError where it is not done, or where its components have changed since."""
    document = trial.document
    if document.status != "done":
        raise UserError(f"trial {document.hash} is {document.status} ({document.reason}): it has no final weights")
    asked: Trial = document.trial
    for kind in ("problem", "architecture", "optimizer"):
        ref = getattr(asked, kind)
        entry = registry.entry(f"{kind}s", ref.name, f"trial {document.hash}: {kind}")
        here = (entry.plugin.name, entry.component.revision, entry.plugin.digest)
        if here != (ref.provider, ref.revision, ref.digest):
            raise UserError(
                f"trial {document.hash}: its {kind} {ref.name!r} was revision {ref.revision} of {ref.provider!r}, but "
                f"here it is revision {here[1]} of {here[0]!r}, or has other code: run the benchmark again"
            )
    return trial


def _refuse(missing: list[str], trial: StoredTrial) -> None:
    if missing:
        how = "trajectory" if "trajectory" in missing else "weights"
        raise UserError(
            f"trial {trial.document.hash} was saved without {' and '.join(missing)} weights: "
            f"run its benchmark again with --keep {how}"
        )


def _same_kind(trial: StoredTrial, other: StoredTrial) -> None:
    first, second = trial.document.trial, other.document.trial
    for kind in ("problem", "architecture"):
        if getattr(first, kind).canonical() != getattr(second, kind).canonical():
            raise UserError(f"--other {other.document.hash}: it has another {kind} than {trial.document.hash}")
