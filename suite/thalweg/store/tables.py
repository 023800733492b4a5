"""Tables as Parquet files, with settings in the metadata.

A small file may unfold to any size. So a reader adds up rows and bytes from the footer and the dictionaries before it
unfolds a table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from thalweg import guard
from thalweg.limits import ROWS, TABLE_BYTES, Limit
from thalweg.shown import brief
from thalweg.store.files import Files

METADATA_KEY = b"thalweg"

COLUMNS = 1000
"""Columns of a table, at most."""
NAMES = 1 << 16
"""Bytes of the different texts in a column of names, at most."""
FIXED_WIDTH = 64
"""Bytes of a value of fixed width, at most; no number is wider."""


class Unfit(ValueError):  # noqa: N818 - the reason, as a sentence
    """A table that is not read."""


class TooLarge(Unfit):
    """A table that holds more than is read."""


def write_table(table: pd.DataFrame, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a table; ``metadata`` is kept as JSON in the schema."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if metadata is not None:
        arrow = arrow.replace_schema_metadata(
            {**(arrow.schema.metadata or {}), METADATA_KEY: json.dumps(metadata).encode()}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # most tables are small: statistics and a second schema would be two thirds of the file
    with_schema = metadata is not None
    # to an open file: pyarrow would follow a link that has the path
    with guard.free(path).open("xb") as file:
        pq.write_table(arrow, file, compression="zstd", write_statistics=False, store_schema=with_schema)


def read_table(files: Files, name: str) -> pd.DataFrame:
    """Read a table.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, has several columns of one name, or is larger than the limits.
    """
    with files.open(name, guard.TABLE) as file, _as_value_error():
        # without the metadata of pandas, which a stranger may have written
        found = read_arrow(file)
        names = found.column_names
        if len({*names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Unfit(f"it has several columns {brief(twice)}")
        table: pd.DataFrame = unfolded(found).to_pandas(ignore_metadata=True)
    return table


def read_arrow(source: BinaryIO | pa.NativeFile, texts: Sequence[str] | None = None) -> pa.Table:
    """A table with its texts as dictionaries, which are small where the table repeats one text.

    Args:
        source: the file, open.
        texts: the columns of texts, where they are known.

    Raises:
        ValueError: the table is larger than the limits.
        Exception: any other error of pyarrow.
    """
    about = None
    if texts is None:
        about = pq.read_metadata(source)
        source.seek(0)
        columns = [about.schema.column(i) for i in range(min(about.num_columns, COLUMNS))]
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    file = pq.ParquetFile(source, metadata=about, read_dictionary=texts)
    check_footer(file.metadata)
    return file.read(use_threads=False)


def check_footer(about: pq.FileMetaData) -> None:
    """ValueError where a file says that it holds more than the limits allow."""
    if about.num_columns > COLUMNS or about.num_row_groups > 10_000:
        raise TooLarge(f"it has {about.num_columns:,} columns in {about.num_row_groups:,} row groups")
    rows, size = 0, 0
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        rows, size = rows + group.num_rows, size + group.total_byte_size
    _check(ROWS, max(rows, about.num_rows), "it is too long")
    # a column that repeats one value takes few bytes in the file
    _check(TABLE_BYTES, max(size, rows * about.num_columns * 8), "it is too large")
    if not _seen or not about.schema.equals(_seen[0]):
        if lists := _check_types(about):
            values = sum(about.row_group(i).column(n).num_values for i in range(about.num_row_groups) for n in lists)
            _check(ROWS, values, "its lists are too long")
        else:
            _seen[:] = [about.schema]


_seen: list[pq.ParquetSchema] = []
"""The last schema that was found sound: most files have an equal one."""


def _check_types(about: pq.FileMetaData) -> list[int]:
    """The columns of lists; TooLarge where a column may hold anything."""
    lists = []
    for number in range(about.num_columns):
        column = about.schema.column(number)
        if column.physical_type == "FIXED_LEN_BYTE_ARRAY" and column.length > FIXED_WIDTH:
            raise TooLarge(f"a value of column {column.name!r} has {column.length:,} bytes")
        if column.path != column.name and column.physical_type == "BYTE_ARRAY":
            raise TooLarge(f"column {column.path!r} has texts inside of lists or records")
        if column.max_repetition_level:
            lists.append(number)
    return lists


def _check(limit: Limit, asked: int, what: str) -> None:
    if asked > limit.value:
        raise TooLarge(limit.refusal(asked, what))


def check_names(table: pa.Table, columns: Sequence[str]) -> None:
    """TooLarge where the different texts of a column have more bytes than NAMES."""
    for name in columns:
        for chunk in table.column(name).chunks:
            size = sum(buffer.size for buffer in chunk.dictionary.buffers()[1:] if buffer is not None)
            if size > NAMES:
                raise TooLarge(f"the texts of column {name!r} are too long for names: {size:,} bytes")


def check_texts(table: pa.Table) -> None:
    """ValueError where the texts of a table, written out, have more bytes than the limit."""
    if table.nbytes * table.num_rows <= TABLE_BYTES.default:
        return  # even if each row held all texts
    size = 0
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_dictionary(column.type):
            continue
        for chunk in column.chunks:
            lengths = pc.binary_length(chunk.dictionary)
            longest = pc.max(lengths).as_py() or 0
            size += longest * len(chunk) if longest * len(chunk) <= guard.MB else _exact(lengths, chunk)
        _check(TABLE_BYTES, size, f"the texts of column {name!r} are too long")


def unfolded(table: pa.Table) -> pa.Table:
    """The table with its texts written out."""
    check_texts(table)
    for number, name in enumerate(table.column_names):
        kind = table.column(number).type
        if pa.types.is_dictionary(kind):
            table = table.set_column(number, name, table.column(number).cast(kind.value_type))
    return table


def _exact(lengths: pa.Array, chunk: pa.DictionaryArray) -> int:
    return pc.sum(lengths.cast(pa.int64()).take(chunk.indices)).as_py() or 0


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turn the errors that pyarrow raises for a file that is no table into ValueError; OSError stays."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except (pa.ArrowException, LookupError, TypeError, ArithmeticError, NotImplementedError, RecursionError) as error:
        raise ValueError(f"it is no table ({type(error).__name__})") from error


def is_table(files: Files, name: str) -> bool:
    """Whether a file has the footer of a Parquet file: cheap, and false for a file that was cut off."""
    try:
        _footer(files, name, lambda about: None)
    except (OSError, ValueError):
        return False
    return True


def read_metadata(files: Files, name: str) -> dict[str, Any]:
    """The settings that were written with a table.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, or has no settings.
    """
    metadata: Mapping[bytes, bytes] = _footer(files, name, lambda about: about.metadata) or {}
    with _as_value_error():
        settings = json.loads(metadata.get(METADATA_KEY, b"{}"))
    if not isinstance(settings, dict):
        raise ValueError("its settings are none")
    return settings


def _footer(files: Files, name: str, look: Callable[[pq.FileMetaData], Any]) -> Any:
    with files.open(name, guard.TABLE) as file, _as_value_error():
        return look(pq.read_metadata(file))
