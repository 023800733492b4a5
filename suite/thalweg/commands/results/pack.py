"""``thalweg results pack``."""

from __future__ import annotations

import os
from pathlib import Path

from thalweg import guard
from thalweg.commands.results.find import nothing_in
from thalweg.console import console, errors, print_json
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.present import sentences
from thalweg.present.numbers import number
from thalweg.store.claims import CLAIMS, ClaimResults
from thalweg.store.pack import Packing, pack, pack_claims
from thalweg.store.packed_format import SUFFIX, is_packed
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, own_root, refused_in, require_benchmark


def pack_command(folder: Path, out: Path, force: bool, as_json: bool) -> ExitCode:
    """Write a packed file for each benchmark, and one for claims.

    ``FAILED`` where damaged files stay out, ``NOTHING`` without trials and claims.
    """
    if is_packed(folder):
        raise UserError(f"{folder}: is packed: 'thalweg results unpack' makes a folder of it")
    if not folder.exists():
        near = own_root() / folder
        hint = f"did you mean {near}?" if near.is_dir() else f"results that are trained here are in {own_root()}"
        errors().print(f"{folder}: there is no such folder: {hint}", markup=False)
        return ExitCode.NOTHING
    place = folder.resolve()
    if guard.is_folder(place / "trials"):
        chosen, refused = [require_benchmark(place.parent, place.name)], []
    else:
        chosen = [BenchmarkResults(place, name) for name in benchmarks_in(place)]
        chosen, refused = [source for source in chosen if not source.packed], refused_in(place)
    for source in chosen:
        _check_free(out, source.name, force)
    claims = _claims_at(place)
    if claims is not None:
        _check_free(out, CLAIMS, force)
    done: dict[str, Packing] = {}
    try:
        if claims is not None:
            done[CLAIMS] = pack_claims(claims, out)
        for source in chosen:
            done[source.name] = pack(source, out)
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror}") from error
    for item in refused:
        errors().print(f"{item.path} is not read: {item.reason}", markup=False)
    written = {name: each for name, each in done.items() if each.trials or each.claims}
    if as_json:
        rows = {name: vars(each) | {"path": str(each.path)} for name, each in written.items()}
        print_json({"results": str(folder), "benchmarks": rows})
    for name, each in done.items():
        for file, reason in each.damaged.items():
            errors().print(f"{name}/{file}: left out: {reason}", markup=False)
        for file, reason in each.left.items():
            errors().print(f"{name}/{file}: not packed: {reason}", markup=False)
    for name, each in written.items() if not as_json else ():
        what = sentences.count(each.claims, "claim") if each.claims else sentences.count(each.trials, "trial")
        counts = f"{what}, {sentences.count(each.files, 'file')}"
        console().print(f"{name}: {counts}, {number(each.bytes, 'bytes')} bytes: {each.path}", markup=False)
    if not written:
        return nothing_in(folder)
    return ExitCode.FAILED if refused or any(each.damaged for each in done.values()) else ExitCode.DONE


def _claims_at(place: Path) -> ClaimResults | None:
    """The claims in a results folder, or in the folder of claims itself; None where there are none."""
    results = ClaimResults(place.parent if place.name == CLAIMS else place)
    return results if results.ids and not results.packed else None


def _check_free(out: Path, name: str, force: bool) -> None:
    """UserError where the packed file would lie beside its folder, or would replace an older one unasked."""
    packed = out / (name + SUFFIX)
    if os.path.lexists(out / name):
        raise UserError(f"--out {out}: {name} is there too, and only one of the two can count: name another folder")
    if os.path.lexists(packed) and not force:
        raise UserError(f"{packed}: is there already: --force replaces it, --out names another folder")
    if guard.is_folder(packed):
        raise UserError(f"{packed}: is a folder: --out names another place")
