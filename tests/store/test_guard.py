"""The guards alone: kinds of files, links, sizes, names, and content that unpacks to more than it seems."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import TINY, CommandLine, results
from thalweg import guard
from thalweg.limits import ROWS
from thalweg.runner import returned
from thalweg.store import tables
from thalweg.store.files import FolderFiles
from thalweg.store.listing import index_folder
from thalweg.store.tables import TooLarge, is_table, read_table, write_table
from thalweg.store.writing import ResultsFolder

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and links are POSIX's")


@posix
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "is a pipe"),
        (Path.mkdir, "is a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link"),
        (lambda path: path.symlink_to(path), "is a symbolic link"),
        (lambda path: path.write_bytes(b"12345678901"), "has 11 bytes, more than the 10"),
    ],
)
def test_only_regular_files_that_are_small_enough_are_opened(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / "x")
    with pytest.raises(guard.Refused, match=says):
        guard.read_bytes(tmp_path / "x", 10)


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(guard.Refused, match="is no name of a file"):
        guard.read_bytes(tmp_path / "a\0b", 10)


def test_a_file_that_says_that_it_is_empty_is_read_to_its_limit() -> None:
    path = Path("/proc/self/maps")
    if not path.is_file():
        pytest.skip("no /proc here")
    assert path.stat().st_size == 0
    assert guard.read_bytes(path, guard.MB)
    with pytest.raises(guard.Refused, match="more than the 10 bytes"):
        guard.read_bytes(path, 10)


@posix
def test_a_file_is_written_in_place_of_a_link_and_not_through_it(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine", encoding="utf-8")
    for name in ("x", "partial"):
        (tmp_path / name).symlink_to(tmp_path / "outside")
    guard.write_text("new", tmp_path / "x", tmp_path / "partial")
    write_table(pd.DataFrame({"a": [1]}), tmp_path / "x.parquet")
    (tmp_path / "x.parquet").unlink()
    (tmp_path / "x.parquet").symlink_to(tmp_path / "outside")
    write_table(pd.DataFrame({"a": [1]}), tmp_path / "x.parquet")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "new"
    assert read_table(FolderFiles(tmp_path), "x.parquet")["a"].tolist() == [1]
    assert (tmp_path / "outside").read_text(encoding="utf-8") == "mine"


def folded(values: pa.Array, count: int) -> pa.Table:
    codes = pa.array(np.zeros(count, np.int32))
    return pa.table({"a": pa.DictionaryArray.from_arrays(codes, values)})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (folded(pa.array([1.0]), ROWS.default + 1), "THALWEG_MAX_ROWS=10000001 allows it"),
        (folded(pa.array(["x" * (1 << 20)]), 5_000), "the texts of column 'a' are too long: 5,242,880,000 table bytes"),
        (folded(pa.array([b"x" * 1000], pa.binary(1000)), 1_000), "a value of column 'a' has 1,000 bytes"),
        (pa.table({"a": pa.array([["x"]])}), "has texts inside of lists"),
        (pa.table({f"c{number}": [1] for number in range(1001)}), "1,001 columns"),
    ],
)
def test_a_table_is_counted_before_it_is_unfolded(tmp_path: Path, table: pa.Table, says: str) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 2 * guard.MB
    assert is_table(FolderFiles(tmp_path), "x.parquet")
    code = (
        "import resource, sys; from pathlib import Path; from thalweg.store.files import FolderFiles\n"
        "from thalweg.store.tables import TooLarge, read_table\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
        "try: read_table(FolderFiles(Path(sys.argv[1]).parent), 'x.parquet')\n"
        "except TooLarge as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert says in done.stdout


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    table = pd.DataFrame({"n": [1, 2], "x": [0.5, float("nan")], "t": pd.array(["a", "b"], "str"), "f": [True, False]})
    write_table(table, tmp_path / "x.parquet", {"probe": "line"})
    pd.testing.assert_frame_equal(read_table(FolderFiles(tmp_path), "x.parquet"), table)
    assert tables.read_metadata(FolderFiles(tmp_path), "x.parquet") == {"probe": "line"}


def test_what_is_no_table_is_no_error_of_another_kind(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"n": [1]}), tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    for cut in (0, 4, len(whole) // 2, len(whole) - 1):
        (tmp_path / "x.parquet").write_bytes(whole[:cut])
        with pytest.raises((OSError, ValueError)) as raised:
            read_table(FolderFiles(tmp_path), "x.parquet")
        assert not isinstance(raised.value, TooLarge)


def test_a_file_that_unpacks_to_more_than_it_may_have_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trial.json", b"\0" * (guard.DOCUMENT + 1))
    with zipfile.ZipFile(packed) as archive, pytest.raises(guard.Refused, match="unpacks to more than"):
        guard.unpack(archive, "trial.json")
    with zipfile.ZipFile(packed) as archive, pytest.raises(ValueError, match=r"curve\.parquet cannot be unpacked"):
        guard.unpack(archive, "curve.parquet")


def test_what_a_worker_sends_is_the_trial_that_was_asked_for_and_nothing_more(cli: CommandLine) -> None:
    (cli.folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    cli("run", "tiny.toml", "--quiet")
    one, other = results(cli, "tiny").scan()[0]
    (one.path / "stray.txt").write_text("?", encoding="utf-8")
    packed = returned._packed(one.path)
    place = ResultsFolder(cli.folder / "new", "tiny")
    path = returned._put(place, one.document.hash, packed)
    assert sorted(item.name for item in path.iterdir()) == ["curve.parquet", "trial.json"]
    with pytest.raises(ValueError, match="it is the trial"):
        returned._put(place, other.document.hash, packed)
    (one.path / "curve.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is not what its document says"):
        returned._put(place, one.document.hash, returned._packed(one.path))


def test_an_index_that_came_with_the_results_is_not_read(cli: CommandLine) -> None:
    """The foreign index says that all trials have failed. It was made from results with equal times and sizes."""
    (cli.folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    cli("run", "tiny.toml", "--quiet")
    there = results(cli, "tiny")
    cli("results", "compact")
    for path in index_folder(there).glob("*.trials"):
        table = pq.read_table(path)
        number = table.column_names.index("status")
        forged = table.set_column(number, "status", pa.array(["failed"] * table.num_rows))
        (there.path / ".index").mkdir(exist_ok=True)
        pq.write_table(forged.replace_schema_metadata(table.schema.metadata), there.path / ".index" / path.name)
    before = sorted(path.name for path in index_folder(there).iterdir())
    assert {trial["status"] for trial in cli.json("results", "list")["trials"]} == {"done"}
    assert sorted(path.name for path in index_folder(there).iterdir()) == before
    cli("results", "compact")
    assert not (there.path / ".index").exists()


@pytest.mark.parametrize("column", ["step", "split", "value"])
def test_a_curve_without_steps_or_names_is_named_and_left_out(cli: CommandLine, column: str) -> None:
    (cli.folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    cli("run", "tiny.toml", "--quiet")
    one = results(cli, "tiny").scan()[0][0].path
    curve = pq.read_table(one / "curve.parquet")
    empty = pa.nulls(curve.num_rows, curve.schema.field(column).type)
    pq.write_table(curve.set_column(curve.column_names.index(column), column, empty), one / "curve.parquet")
    said = cli("leaderboard", "tiny.toml").stderr
    # a value may be missing: it was not finite
    assert (f"cannot be read: {one.name}: ValueError" in said) == (column != "value")
