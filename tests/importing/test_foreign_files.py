"""Files of strangers as data: nothing runs, sizes are limited, and a damaged file is one line."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from support import CommandLine
from thalweg.errors import UserError
from thalweg.foreign.cells import flat, plain
from thalweg.foreign.database import tables_of
from thalweg.foreign.files import json_lines, json_of, lines_of, text_of, yaml_of
from thalweg.foreign.rows import Rows


def test_yaml_makes_no_object_and_reads_numbers(tmp_path: Path) -> None:
    path = tmp_path / "hparams.yaml"
    path.write_text(
        "lr: 1e-3\nid: 71e853db3f\nmodel: !!python/object/apply:builtins.print [ran]\nn: !!python/tuple [1]\nb: yes\n",
        encoding="utf-8",
    )
    assert yaml_of(path) == {"lr": 0.001, "id": "71e853db3f", "model": None, "n": [1], "b": True}


def test_aliases_do_not_multiply(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert flat(yaml_of(path)) == {"a0": "['x', 'x']"}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ', "\x00", ""])
def test_what_is_no_json_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.json: is no JSON document that can be read"):
        json_of(path)


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"a": 1}\n{"a": NaN}\n{"a"', encoding="utf-8")
    assert len(list(json_lines(path))) == 2
    path.write_text('{"a": 1}\n{"a"\n{"a": 2}', encoding="utf-8")
    with pytest.raises(UserError, match=r"result\.json: line 2 is no JSON"):
        list(json_lines(path))


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * 100, encoding="utf-8")
    monkeypatch.setenv("THALWEG_MAX_DOCUMENT_BYTES", "99")
    with pytest.raises(UserError, match="100 document bytes are more than the limit of 99"):
        text_of(path)
    monkeypatch.setenv("THALWEG_MAX_LINE_BYTES", "99")
    with pytest.raises(UserError, match="a line: more than the limit of 99 line bytes"):
        list(lines_of(path))
    monkeypatch.setenv("THALWEG_MAX_ROWS", "2")
    rows = Rows("a.txt")
    rows.add(1, "loss", 1.0)
    rows.add(2, "loss", 1.0, seconds=3.0)
    with pytest.raises(UserError, match=r"a\.txt: more than the limit of 2 rows"):
        rows.add(3, "loss", 1.0)
    assert rows.table()["seconds"].isna().tolist() == [True, False]


def test_a_database_is_only_read_and_a_view_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE metrics (key TEXT, value REAL)")
        connection.execute("INSERT INTO metrics VALUES ('loss', 1.0), ('loss', 2.0)")
        connection.execute("CREATE VIEW runs AS SELECT * FROM metrics")
    connection.close()
    before = path.read_bytes()
    with tables_of(path) as tables:
        assert tables.names() == {"metrics"}
        assert list(tables.rows("metrics", "key, value")) == [("loss", 1.0), ("loss", 2.0)]
        with pytest.raises(UserError, match="has no table 'runs'"):
            list(tables.rows("runs", "key"))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.db"]
    monkeypatch.setenv("THALWEG_MAX_ROWS", "1")
    with tables_of(path) as tables, pytest.raises(UserError, match="table metrics: 2 rows are more"):
        list(tables.rows("metrics", "key"))
    path.write_bytes(before[:1000])
    with pytest.raises(UserError, match=r"a\.db: cannot be read"), tables_of(path) as tables:
        tables.names()


def test_plain_reads_what_settings_are() -> None:
    assert [plain(one) for one in ("3", "1e-3", "False", "adam", "0x10")] == [3, 0.001, False, "adam", "0x10"]


def test_a_folder_of_several_formats_is_refused_and_another_one_told(cli: CommandLine) -> None:
    runs = cli.folder / "runs"
    (runs / "a").mkdir(parents=True)
    (runs / "a" / "metrics.csv").write_text("epoch,step,val_acc\n0,9,0.5\n", encoding="utf-8")
    (runs / "a" / "hparams.yaml").write_text("optimizer: adam\n", encoding="utf-8")
    (runs / "a" / "trainer_state.json").write_text('{"log_history": []}', encoding="utf-8")
    words = ["results", "import-curves", "runs", "--benchmark", "m", "--into", "imp"]
    error = cli(*words, code=2).stderr
    assert "runs: holds runs of several formats: lightning (1 file), hf (1 file): --format chooses one" in error
    assert cli.json(*words, "--format", "lightning")["format"] == "lightning"
    assert (
        "holds no file that importer 'keras' recognises: there are 3 files"
        in cli(*words, "--format", "keras", code=2).stderr
    )
    assert "--format: no format 'kers'; did you mean 'keras'?" in cli(*words, "--format", "kers", code=2).stderr
    (cli.folder / "model.pkl").write_bytes(b"\x80\x04K\x01.")
    assert (
        "model.pkl: no importer recognises this file"
        in cli("results", "import-curves", "model.pkl", "--benchmark", "m", "--into", "imp", code=2).stderr
    )


def test_a_package_that_is_missing_is_told_in_one_line(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg_plugins.importers.lightning import Lightning

    monkeypatch.setattr(Lightning, "packages", ("no-such-package",))
    (cli.folder / "metrics.csv").write_text("epoch,step,val_acc\n0,9,0.5\n", encoding="utf-8")
    words = ["metrics.csv", "--format", "lightning", "--benchmark", "m", "--into", "imp"]
    error = cli("results", "import-curves", *words, code=2).stderr
    assert error == "error: importer 'lightning' needs no-such-package: pip install 'thalweg[import]'\n"
