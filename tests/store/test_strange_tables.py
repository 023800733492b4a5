"""A probe's table may have any columns: tables that cannot be read are reported, and others are exported."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import CommandLine, results
from thalweg.store.files import FolderFiles
from thalweg.store.tables import Unfit, read_table


def test_columns_of_one_name_are_told(tmp_path: Path) -> None:
    one = pa.array([1.0])
    pq.write_table(pa.Table.from_arrays([one, one, one], names=["a", "b", "b"]), tmp_path / "x.parquet")
    with pytest.raises(Unfit, match="it has several columns 'b'"):
        read_table(FolderFiles(tmp_path), "x.parquet")


def test_one_such_table_keeps_no_other_from_a_database(cli: CommandLine, small: Path) -> None:
    cli("run", str(small), "--quiet", "--only", "workload=bowl", "--only", "seed=0")
    first, second = (next((trial.path / "probes").glob("line--*")) for trial in results(cli).scan()[0])
    table = pq.read_table(first)
    pq.write_table(table.rename_columns(["x"] * table.num_columns), first)
    told = cli("results", "export", "all.duckdb")
    assert "it has several columns 'x'" in told.stderr
    with duckdb.connect(str(cli.folder / "all.duckdb")) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM probe_line").fetchall()[0]
    assert rows == len(pq.read_table(second))
