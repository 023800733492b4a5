"""Checks of importers."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pandas as pd

from thalweg.contracts.importer import COLUMNS, COSTS, ForeignRun, ImportContext, Importer
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
from thalweg.testing.others import contract

_ODD = {
    "empty": b"",
    "metrics.csv": b"\n",
    "data.json": b"[1",
    "data.parquet": b"PAR1",
    "data.db": b"SQLite format 3\0",
    "notes.txt": b"\xff\xfe\x00 nothing here",
}
"""Files that no importer reads, under names that some look at."""


@condition(
    finds="a look at a file's name or first bytes that raises an error, or answers neither yes nor no",
    means="a folder with such a file cannot be imported, whatever else is in it",
)
def looks_at_any_file(registry: Registry, name: str) -> None:
    """``recognises`` answers yes or no for any file."""
    importer = _importer(registry, name)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in _ODD.items():
            path = Path(folder) / file
            path.write_bytes(content)
            answer = importer.recognises(path)
            expect(isinstance(answer, bool), "a truth value", f"{answer!r} for a file {file!r}")


@condition(
    finds="a damaged file, or one of another format, that ends in an error of Python's or is taken for runs",
    means="an import ends in a traceback, or keeps numbers that nobody measured",
)
def refuses_what_it_cannot_read(registry: Registry, name: str) -> None:
    """A file that holds nothing of the format is refused with a UserError that names the file."""
    importer = _importer(registry, name)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in _ODD.items():
            path = Path(folder) / file
            path.write_bytes(content)
            runs, refused = _read(importer, [path])
            rows = sum(len(run.rows) for run in runs)
            expect(not rows, f"no rows from a file {file!r} without content", f"{rows}")
            expect(refused is None or str(path) in refused, f"a message that names {file!r}", f"{refused!r}")


@condition(
    finds="an example that the importer does not recognise, runs without rows, or columns of another kind",
    means="the importer's runs cannot become trials",
)
def reads_its_example(registry: Registry, name: str) -> None:
    """The importer recognises its example, and reads runs with steps, keys and numbers."""
    importer = _importer(registry, name)
    with _example(importer) as files:
        own = [path for path in files if importer.recognises(path)]
        expect(bool(own), "a file of the example that recognises() answers with yes", "none")
        runs = list(importer.read(own, ImportContext()))
        expect(bool(runs), "runs of the example", "none")
        for run in runs:
            _check(run)


@condition(
    finds="an importer that changes files, writes beside them, or reads other numbers the second time",
    means="a second look at the same files may give another leaderboard",
)
def leaves_files_alone(registry: Registry, name: str) -> None:
    """Reading twice gives the same runs, and leaves the files as they were."""
    importer = _importer(registry, name)
    with _example(importer) as files:
        own, before = [path for path in files if importer.recognises(path)], _digests(files[0])
        first, second = (list(importer.read(own, ImportContext())) for _ in range(2))
        expect(len(first) == len(second), "as many runs the second time", f"{len(first)} and {len(second)}")
        for one, other in zip(first, second, strict=True):
            same = one.rows.equals(other.rows) and dict(one.parameters) == dict(other.parameters)
            expect(same, "the same rows and parameters the second time", f"others of run {one.name!r}")
        expect(_digests(files[0]) == before, "the files as they were", "others")


@condition(
    finds="a file that a kill or a full disk cut off, and that ends in an error of Python's",
    means="one damaged file ends the import in a traceback",
)
def takes_a_cut_file(registry: Registry, name: str) -> None:
    """A file of the example that is cut off in its middle gives runs or a UserError."""
    importer = _importer(registry, name)
    with _example(importer) as files:
        own = [path for path in files if importer.recognises(path)]
        for path in own[:3]:
            whole = path.read_bytes()
            for size in (len(whole) // 3, len(whole) // 2, len(whole) - 1):
                path.write_bytes(whole[:size])
                _read(importer, own)
            path.write_bytes(whole)


def _importer(registry: Registry, name: str) -> Importer:
    return cast(Importer, registry.entry("importers", name).component)


@contextmanager
def _example(importer: Importer) -> Iterator[list[Path]]:
    """The files of the example."""
    with tempfile.TemporaryDirectory() as folder:
        importer.example(Path(folder))
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        if not files:
            raise DoesNotApply("the importer writes no example")
        yield files


def _read(importer: Importer, files: list[Path]) -> tuple[list[ForeignRun], str | None]:
    """The runs, and the message where the files are refused."""
    try:
        return list(importer.read(files, ImportContext())), None
    except UserError as error:
        return [], str(error)


def _check(run: ForeignRun) -> None:
    rows = run.rows
    expect(isinstance(rows, pd.DataFrame), "rows as a DataFrame", type(rows).__name__)
    lacking = [name for name in COLUMNS if name not in rows]
    expect(not lacking, f"the columns {', '.join(COLUMNS)}", f"run {run.name!r} lacks {', '.join(lacking)}")
    further = [str(name) for name in rows.columns if name not in (*COLUMNS, *COSTS)]
    expect(not further, f"no columns besides {', '.join((*COLUMNS, *COSTS))}", ", ".join(further))
    expect(len(rows) > 0, "rows", f"none of run {run.name!r}")
    for name in ("step", "value"):
        numeric = pd.api.types.is_numeric_dtype(rows[name])
        expect(numeric, f"numbers in the column {name!r}", f"{rows[name].dtype}")
    steps = rows["step"]
    expect(bool((steps >= 0).all()), "steps from 0 up", f"{steps.min():g}")
    kinds = {key: one for key, one in run.parameters.items() if not isinstance(one, str | int | float | bool)}
    expect(not kinds, "parameters that are numbers, texts or truth values", f"{kinds}")


def _digests(file: Path) -> dict[str, str]:
    folder = file.parent
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()) if path.is_file()
    }


CHECKS = (
    contract,
    looks_at_any_file,
    refuses_what_it_cannot_read,
    reads_its_example,
    leaves_files_alone,
    takes_a_cut_file,
)
