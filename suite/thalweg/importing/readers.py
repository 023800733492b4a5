"""Chooses the reader of foreign files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from thalweg.errors import UserError, unknown
from thalweg.importing.runs import Read
from thalweg.importing.tables import ENDINGS, read_tables
from thalweg.limits import TRIALS

READERS: dict[str, Callable[[Sequence[Path], str], Read]] = {"csv": read_tables}
"""Each reader by its name."""


def read(paths: Sequence[Path], format_: str, step: str = "") -> Read:
    """The runs of files and of folders with such files; ``step`` may name the column that counts.

    Raises:
        UserError: there is no such file or reader, or a file cannot be read.
    """
    if format_ != "auto" and format_ not in READERS:
        raise UserError(f"--format: {unknown('format', format_, ('auto', *READERS))}")
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix in ENDINGS and one.is_file())
            if not inside:
                raise UserError(f"{path}: holds no file that ends in {', '.join(ENDINGS)}")
            found += inside
        elif path.is_file():
            if path.suffix not in ENDINGS:
                raise UserError(f"{path}: does not end in {', '.join(ENDINGS)}")
            found.append(path)
        else:
            raise UserError(f"{path}: there is no such file or folder")
    TRIALS.check(len(found), f"{paths[0]} and further files")
    return read_tables(found, step)
