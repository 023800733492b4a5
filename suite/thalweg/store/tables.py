"""Tables as Parquet files, with settings in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

METADATA_KEY = b"thalweg"


def write_table(table: pd.DataFrame, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a table; ``metadata`` is kept as JSON in the schema."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if metadata is not None:
        arrow = arrow.replace_schema_metadata(
            {**(arrow.schema.metadata or {}), METADATA_KEY: json.dumps(metadata).encode()}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(arrow, path, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table."""
    table: pd.DataFrame = pq.ParquetFile(path).read().to_pandas()
    return table


def is_table(path: Path) -> bool:
    """Whether a file has the footer of a Parquet file: cheap, and false for one that was cut off."""
    try:
        pq.read_metadata(path)
    except (OSError, ValueError):
        return False
    return True


def read_metadata(path: Path) -> dict[str, Any]:
    """The settings that were written with a table."""
    metadata = pq.read_schema(path).metadata or {}
    settings: dict[str, Any] = json.loads(metadata.get(METADATA_KEY, b"{}"))
    return settings
