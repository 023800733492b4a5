"""Chooses the importer of foreign files, and reads them."""

from __future__ import annotations

import importlib.metadata
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from thalweg.contracts.importer import ForeignRun, ImportContext, Importer, Told
from thalweg.errors import UserError, unknown
from thalweg.failure import Failure
from thalweg.limits import TRIALS
from thalweg.registry import Entry, Registry

AUTO = "auto"
"""The format of files that importers recognise."""


@dataclass(frozen=True)
class Read:
    """The runs of files, and where they came from."""

    format: str
    """The importer's name."""
    version: str
    """The versions of the importer and of the libraries that it uses."""
    runs: list[ForeignRun]
    notes: list[str] = field(default_factory=list)
    """What one must know of the format to trust the numbers."""
    told: Told = field(default_factory=Told)
    """What the files say of metrics."""


def read(registry: Registry, paths: Sequence[Path], format_: str = AUTO, step: str = "") -> Read:
    """The runs of files, and of the files in folders.

    Args:
        registry: has the importers.
        paths: files and folders.
        format_: an importer's name, or ``auto``.
        step: the column that counts steps, where the user names one.

    Raises:
        UserError: there is no such file or importer, a file cannot be read, or files are of several formats.
    """
    importers = registry.in_order("importers")
    if format_ != AUTO and format_ not in {entry.name for entry in importers}:
        raise UserError(f"--format: {unknown('format', format_, (AUTO, *(entry.name for entry in importers)))}")
    asked = [entry for entry in importers if format_ in (AUTO, entry.name)]
    entry, files, others = _recognised(paths, asked, format_)
    importer = cast(Importer, entry.component)
    versions = [_own_version(entry), *_versions(importer)]
    context = ImportContext(step=step)
    if others:
        some = ", ".join(str(path) for path in others[:3]) + (", …" if len(others) > 3 else "")
        context.note(f"{_files(len(others))} of another kind not read: {some}; --format csv reads tables")
    try:
        runs = list(importer.read(files, context))
    except UserError:
        raise
    except Exception as error:  # of a file that is not as its format says, or of a plugin
        where = files[0] if len(files) == 1 else f"{paths[0]}: one of {_files(len(files))}"
        raise UserError(f"{where}: importer {entry.name!r} cannot read it ({Failure.of(error).line})") from error
    if not runs:
        raise UserError(f"{paths[0]}: importer {entry.name!r} finds no run in {_files(len(files))}")
    return Read(entry.name, ", ".join(versions), runs, list(context.notes), context.told)


def _recognised(paths: Sequence[Path], asked: Sequence[Entry], format_: str) -> tuple[Entry, list[Path], list[Path]]:
    """The importer that reads the files, the files that it reads, and tables that it does not read."""
    found: dict[str, list[Path]] = defaultdict(list)
    special = [entry for entry in asked if not entry.component.general]
    general = [entry for entry in asked if entry.component.general]
    rest: list[Path] = []
    number = 0
    for path, alone in _walked(paths):
        number += 1
        TRIALS.check(number, f"{paths[0]} and further files")
        if alone and format_ != AUTO:
            found[format_].append(path)
            continue
        name = next((entry.name for entry in special if _recognises(entry, path)), None)
        if name is None:
            rest.append(path)
        else:
            found[name].append(path)
    if not found:
        for path in rest:
            name = next((entry.name for entry in general if _recognises(entry, path)), None)
            if name is not None:
                found[name].append(path)
            elif path in paths:
                names = ", ".join(entry.name for entry in asked)
                raise UserError(f"{path}: no importer recognises this file; --format chooses one of {names}")
    if not found:
        which = "any importer recognises" if format_ == AUTO else f"importer {format_!r} recognises"
        raise UserError(f"{paths[0]}: holds no file that {which}: there are {_files(number)}")
    if len(found) > 1:
        told = ", ".join(f"{name} ({_files(len(files))})" for name, files in found.items())
        raise UserError(f"{paths[0]}: holds runs of several formats: {told}: --format chooses one")
    ((name, files),) = found.items()
    entry = next(one for one in asked if one.name == name)
    # a file of the same name is of the same format, even if it lacks what tells the format
    alike = set() if entry.component.general else {path.name for path in files}
    files += [path for path in rest if path.name in alike]
    there = set(files)
    others = [path for path in rest if path not in there and any(_recognises(one, path) for one in general)]
    return entry, sorted(files), others


def _recognises(entry: Entry, path: Path) -> bool:
    """Whether an importer recognises a file; one that raises does not."""
    try:
        return bool(entry.component.recognises(path))
    except Exception:  # a damaged file, or a plugin's mistake, must not hide other files
        return False


def _walked(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Every file, and whether the user names it; links within folders are not followed."""
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    file = Path(folder) / name
                    if file.is_file() and not file.is_symlink():
                        yield file, False
        elif path.is_file():
            yield path, True
        else:
            raise UserError(f"{path}: there is no such file or folder")


def _versions(importer: Importer) -> list[str]:
    """The versions of an importer's packages; UserError where one is not installed."""
    found = []
    for package in importer.packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError as error:
            needed = importer.install or " ".join(importer.packages)
            raise UserError(f"importer {importer.name!r} needs {package}: pip install '{needed}'") from error
    return found


def _own_version(entry: Entry) -> str:
    name = "thalweg" if entry.plugin.origin == "built-in" else entry.plugin.name
    return f"{name} {entry.plugin.version}"


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"
