"""Writes packed results: one file ``<benchmark>.thalweg`` from a benchmark's folder. ``packed`` has the format."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from thalweg import guard
from thalweg.errors import UserError
from thalweg.store.archive import open_packed
from thalweg.store.claims import CLAIMS, DOCUMENT, TABLE, ClaimResults
from thalweg.store.files import Files, open_checked
from thalweg.store.packed_format import (
    MOST_BYTES,
    MOST_FILES,
    NAMES,
    SUFFIX,
    SUMS,
    directory_entry,
    end_record,
    local_header,
)
from thalweg.store.results import PARTIAL, WORKING, BenchmarkResults
from thalweg.store.transfer import Changed, document_of
from thalweg.store.trials import StoredTrial
from thalweg.store.verify import FOREIGN, faults_of


@dataclass
class Packing:
    """The outcome of packing a benchmark's folder; names that stay out have the reason."""

    path: Path
    """The packed file."""
    trials: int = 0
    claims: int = 0
    """Claims by tier and version."""
    files: int = 0
    bytes: int = 0
    """Size of the packed file."""
    left: dict[str, str] = field(default_factory=dict)
    """Names that belong to no result and stay out."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Trials and files that are not whole, and stay out."""


def pack(results: BenchmarkResults, out: Path) -> Packing:
    """Write the packed file into the folder ``out``, in place of an older one, whole or not at all.

    Raises:
        UserError: a packed file cannot hold so many files or bytes, or these names; or a file changes meanwhile.
        OSError: the packed file cannot be written.
    """
    done = Packing(out / (results.name + SUFFIX))
    sources = _sources(results, done)
    if done.trials:
        _pack(sources, results.path, done)
    return done


def pack_claims(results: ClaimResults, out: Path) -> Packing:
    """Write the measurements of all claims into ``claims.thalweg``, without the trials that they were read from.

    Raises:
        UserError: as for ``pack``.
        OSError: the packed file cannot be written.
    """
    done = Packing(out / (CLAIMS + SUFFIX))
    sources: dict[str, tuple[Source, str]] = {}
    for id_ in results.ids:
        stored, unreadable = results.of(id_)
        done.damaged |= {f"{id_}/{item.path.name}": item.reason for item in unreadable}
        for one in stored:
            name = f"{id_}/{one.document.folder}"
            if reason := one.fault:
                done.damaged[name] = reason
                continue
            done.claims += 1
            table = one.document.files[TABLE]
            sources[f"{name}/{TABLE}"] = _file_opener(one.files, TABLE), table
            sources[f"{name}/{DOCUMENT}"] = _file_opener(one.files, DOCUMENT), ""
    if done.claims:
        _pack(sources, results.path, done)
    return done


def _file_opener(files: Files, name: str) -> Source:
    return lambda: files.open(name, guard.TABLE)


def _pack(sources: dict[str, tuple[Source, str]], path: Path, done: Packing) -> None:
    """Write the packed file, in place of an older one, whole or not at all."""
    out = done.path.parent
    if len(sources) >= MOST_FILES:
        raise UserError(f"{path}: has {len(sources):,} files, and a packed file holds at most {MOST_FILES - 1:,}")
    partial = guard.free(guard.room(out) / f".{done.path.name}.{os.getpid()}")
    try:
        with partial.open("xb") as file:
            _write(file, sources, path)
            done.files, done.bytes = len(sources), file.tell()
        _check_readable(partial, path)
        partial.replace(done.path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _check_readable(packed: Path, path: Path) -> None:
    """UserError where readers refuse the file, for example because two names differ only in case."""
    try:
        open_packed(packed)
    except guard.Refused as error:
        raise UserError(f"{path}: cannot be packed: {error.reason}") from error


Source = Callable[[], BinaryIO]
"""Opens a file to pack."""


def _sources(results: BenchmarkResults, done: Packing) -> dict[str, tuple[Source, str]]:
    """For each name a function that opens the file, and its digest (empty for any). ``done`` gets names left out."""
    found: dict[str, tuple[Source, str]] = {}
    files = results.files
    if files.has("benchmark.toml"):
        found["benchmark.toml"] = (lambda: files.open("benchmark.toml", guard.TEXT)), ""
    stored, unreadable = results.scan()
    done.damaged |= {f"trials/{item.path.name}": item.reason for item in unreadable}
    for trial in stored:
        name = f"trials/{trial.path.name}"
        if reason := _fault(trial, name, done):
            done.damaged[name] = reason
            continue
        done.trials += 1
        found |= {f"{name}/{file}": (_opener(trial, file), digest) for file, digest in trial.document.files.items()}
        found[f"{name}/trial.json"] = _document_opener(trial), ""
    for name in files.names("timings"):
        place = f"timings/{name}"
        if NAMES.fullmatch(place) and files.has(place):
            found[place] = _file_opener(files, place), ""
        else:
            done.left[place] = "is no table of step times"
    for name in files.names(""):
        locks = name in (WORKING, PARTIAL) and all(each.endswith(".lock") for each in files.names(name))
        if not locks and name not in ("benchmark.toml", "trials", "timings"):
            done.left[name] = "belongs to no result"
    return found


def _fault(trial: StoredTrial, name: str, done: Packing) -> str:
    """Why a trial is not packed; empty for a packed trial. Foreign files in its folder stay out, which is no fault."""
    for fault in faults_of(trial):
        file = fault.path.relative_to(trial.path).as_posix()
        if not fault.reason.endswith(FOREIGN):
            return f"{file} {fault.reason}"
        done.left[f"{name}/{file}"] = fault.reason
    long = [file for file in trial.document.files if not NAMES.fullmatch(f"{name}/{file}")]
    return f"{long[0]} has no name that a packed file may hold" if long else ""


def _opener(trial: StoredTrial, name: str) -> Source:
    return lambda: open_checked(trial.files, name)


def _document_opener(trial: StoredTrial) -> Source:
    return lambda: io.BytesIO(document_of(trial))


def _write(file: BinaryIO, sources: dict[str, tuple[Source, str]], path: Path) -> None:
    directory, sums = [], []
    for name in sorted(sources):
        source, digest = sources[name]
        offset = file.tell()
        try:
            size, crc, found = _copy(file, name.encode(), source)
        except Changed as error:
            raise UserError(f"{path / name}: {error} while it was packed: pack again") from error
        if digest and found != digest:
            raise UserError(f"{path / name}: has changed while it was packed: pack again")
        directory.append(directory_entry(name.encode(), size, crc, offset))
        sums.append(f"{found}  {name}\n")
    offset = file.tell()
    content = "".join(sums).encode()
    size, crc, _ = _copy(file, SUMS.encode(), lambda: io.BytesIO(content))
    directory.append(directory_entry(SUMS.encode(), size, crc, offset))
    end = file.tell()
    file.writelines(directory)
    file.write(end_record(len(directory), file.tell() - end, end))
    if file.tell() > MOST_BYTES:
        raise UserError(f"{path}: {_too_large()}")


def _copy(file: BinaryIO, name: bytes, source: Source) -> tuple[int, int, str]:
    """Write a file with its header; gives its size, CRC-32 and SHA-256."""
    begin = file.tell()
    file.write(local_header(name, 0, 0))
    size, crc, digest = 0, 0, hashlib.sha256()
    with source() as content:
        while block := content.read(guard.MB):
            size, crc = size + len(block), zlib.crc32(block, crc)
            digest.update(block)
            file.write(block)
            if file.tell() > MOST_BYTES:
                raise UserError(f"{name.decode()}: {_too_large()}")
    end = file.tell()
    file.seek(begin)
    file.write(local_header(name, size, crc))
    file.seek(end)
    return size, crc, digest.hexdigest()


def _too_large() -> str:
    return f"a packed file holds at most {MOST_BYTES:,} bytes: pack trials without weights, or fewer of them"
