"""Tables of SQLite files of other programs, read only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thalweg.errors import UserError
from thalweg.limits import ROWS


class Tables:
    """The tables of an open file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection

    def names(self) -> set[str]:
        """The names of the tables; a view, which is a program, is none."""
        return {str(name) for (name,) in self._connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")}

    def columns(self, table: str) -> list[str]:
        """The columns of a table."""
        return [str(row[1]) for row in self._connection.execute(f'PRAGMA table_info("{table}")')]

    def rows(self, table: str, columns: str, order: str = "rowid") -> Iterator[tuple[Any, ...]]:
        """The rows of a table, in an order.

        Raises:
            UserError: the file has no such table.
        """
        if table not in self.names():
            raise UserError(f"{self._path}: has no table {table!r}")
        (number,) = self._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
        ROWS.check(number, f"{self._path}: table {table}")
        yield from self._connection.execute(f'SELECT {columns} FROM "{table}" ORDER BY {order}')


def is_sqlite(path: Path) -> bool:
    """Whether a file begins as SQLite's files do."""
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


@contextmanager
def tables_of(path: Path) -> Iterator[Tables]:
    """Open a file for reading; nothing is written beside it, and no code in it runs.

    Raises:
        UserError: the file is no whole SQLite file.
    """
    if not is_sqlite(path):
        raise UserError(f"{path}: is no SQLite file")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = lambda text: text.decode("utf-8", errors="replace")
        try:
            yield Tables(path, connection)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
