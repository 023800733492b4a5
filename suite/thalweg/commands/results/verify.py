"""``thalweg results verify``."""

from __future__ import annotations

from pathlib import Path

from thalweg import guard
from thalweg.commands.results.find import chosen_results
from thalweg.console import console, errors, print_json
from thalweg.exit_codes import ExitCode
from thalweg.present import sentences
from thalweg.store.claims import CLAIMS, TRAINED, ClaimResults
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import refused_in, results_root
from thalweg.store.verify import Fault, set_aside, verify, verify_overlay
from thalweg.store.writing import ResultsFolder


def verify_command(benchmark: str | None, results: Path | None, as_json: bool, aside: bool) -> ExitCode:
    """Print the faults on disk; ``FAILED`` where there are any, ``NOTHING`` where there are no results.

    With ``aside`` damaged and foreign folders are moved out of the way.
    """
    root = results_root(results)
    whole = 0
    faults = []
    laid_over = 0
    moved: list[Path] = []
    stuck: list[Fault] = []
    if benchmark is None:
        faults += [Fault(item.path, item.reason) for item in refused_in(root)]
    chosen = [(root, there) for there in chosen_results(benchmark, root).values()]
    trained = BenchmarkResults(root / CLAIMS, TRAINED)
    if benchmark is None and guard.is_folder(trained.path):
        chosen.append((root / CLAIMS, trained))
    for place, there in chosen:
        folder = ResultsFolder(place, there.name) if aside else None
        count, found = verify(there)
        whole += count
        probes, unused = verify_overlay(there)
        laid_over += probes
        faults += [*found, *unused]
        if folder is not None:
            went, stayed = set_aside(folder, found)
            moved, stuck = [*moved, *went], [*stuck, *stayed]
    measured = 0
    if benchmark is None:
        results_of_claims = ClaimResults(root)
        measured, found = _verify_claims(results_of_claims)
        faults += found
        if results_of_claims.packed and results_of_claims.refusal:
            faults.append(Fault(results_of_claims.path, results_of_claims.files.refusal or "holds no claims"))
    if as_json:
        rows = [{"path": str(fault.path), "reason": fault.reason} for fault in faults]
        print_json(
            {
                "results": str(root),
                "whole": whole,
                "claims": measured,
                "laid_over": laid_over,
                "faults": rows,
                "set_aside": [str(path) for path in moved],
            }
        )
    else:
        for fault in faults:
            console().print(f"{fault.path}: {fault.reason}", markup=False)
        claims = f"{sentences.count(measured, 'measured claim')}, " if measured else ""
        probes_here = f"{sentences.count(laid_over, 'probe')} measured here, " if laid_over else ""
        counts = (
            f"{sentences.count(whole, 'whole trial')}, {claims}{probes_here}{sentences.count(len(faults), 'fault')}"
        )
        console().print(counts, markup=False)
        for path in moved:
            console().print(f"set aside: {path}", markup=False)
    for fault in stuck:
        errors().print(f"{fault.path} {fault.reason}", markup=False)
    if faults:
        return ExitCode.FAILED
    return ExitCode.DONE if whole or measured else ExitCode.NOTHING


def _verify_claims(results: ClaimResults) -> tuple[int, list[Fault]]:
    """The number of whole measurements of claims, and what is wrong with others."""
    whole, faults = 0, []
    for id_ in results.ids:
        stored, unreadable = results.of(id_)
        faults += [Fault(item.path, item.reason) for item in unreadable]
        broken = [Fault(one.files.path, reason) for one in stored if (reason := one.fault)]
        faults += broken
        whole += len(stored) - len(broken)
    return whole, faults
