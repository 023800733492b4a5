"""No printed text acts on a terminal, hides, or forges a line or a cell."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from strange_texts import EVIL, SEEN, acting
from support import TINY, CommandLine, results
from thalweg.shown import brief, csv_cell, shown, shown_lines
from thalweg.store.export import export
from thalweg.store.sheets import to_csv


def test_every_sign_that_acts_or_hides_is_written_out() -> None:
    for number in range(0x110000):
        if unicodedata.category(chr(number)) in {"Cc", "Cf", "Zl", "Zp", "Cs"}:
            told = shown(chr(number))
            # the escape of a Python literal
            assert told.isascii(), hex(number)
            assert eval(f"'{told}'") == chr(number)
    assert (
        shown("adam:lr=0.1 · größer · 学習 · é · 1–2 · ∞ · C:\\x")
        == "adam:lr=0.1 · größer · 学習 · é · 1–2 · ∞ · C:\\x"
    )
    assert shown(EVIL) == SEEN
    assert shown_lines("one\ntwo\x1b") == "one\ntwo\\x1b"


@pytest.mark.parametrize(
    "words",
    [
        ["run", f"{EVIL}.toml"],
        ["run", EVIL],
        ["run", "bowl.toml", "--only", f"optimizer={EVIL}"],
        ["run", "bowl.toml", "--only", EVIL],
        ["run", "bowl.toml", "--with", f"optimizer=sgd:lr={EVIL}"],
        ["run", "bowl.toml", "--with", EVIL],
        ["run", "bowl.toml", f"--{EVIL}"],
        ["run", "bowl.toml", "--seeds", EVIL],
        ["run", "bowl.toml", "-j", EVIL],
        ["run", "bowl.toml", "--plugin", EVIL],
        [EVIL],
        ["show", EVIL],
        ["results", "show", EVIL],
        ["results", "list", EVIL],
        ["compare", EVIL, EVIL],
        ["leaderboard", "bowl.toml", "--metric", EVIL],
        ["leaderboard", "bowl.toml", "--format", EVIL],
    ],
)
def test_a_mistake_is_told_without_the_signs_in_it(cli: CommandLine, words: list[str]) -> None:
    (cli.folder / "bowl.toml").write_text(TINY, encoding="utf-8")
    done = cli(*words, code=2)
    assert acting(done.stdout + done.stderr) == []
    # text after a line break in the value must not become a separate line
    assert not any(line.startswith("b") for line in done.stderr.splitlines())


def test_an_argument_that_is_no_text_is_told(process_cli: CommandLine) -> None:
    done = process_cli("run", "\udcff.toml", code=2)
    assert done.stderr.startswith("error: \\udcff.toml: cannot be read")


def test_reasons_of_results_are_shown(cli: CommandLine) -> None:
    (cli.folder / "bowl.toml").write_text(TINY, encoding="utf-8")
    cli("run", "bowl.toml", "--only", "optimizer=sgd")
    (path,) = results(cli, "bowl").trials.iterdir()
    document = json.loads((path / "trial.json").read_text(encoding="utf-8"))
    document |= {"status": "failed", "reason": EVIL}
    (path / "trial.json").write_text(json.dumps(document), encoding="utf-8")
    for words in (["list"], ["show", document["hash"]], ["verify"], ["delete", document["hash"], "--yes"]):
        done = cli("results", *words, code=None)
        assert acting(done.stdout + done.stderr) == [], words
        if words == ["list"]:
            assert SEEN in done.stdout
    assert brief(EVIL).count("\n") == 0


FORMULAS = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1"]


def test_a_spreadsheet_reads_cells_as_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": [*FORMULAS, "adam"], "value": [-1.5] * 8, "=h": [1] * 8})
    table["category"] = table["name"].astype("category")
    to_csv(table, tmp_path / "safe.csv")
    read = pd.read_csv(tmp_path / "safe.csv", dtype={"name": str, "category": str})
    assert list(read.columns) == ["name", "value", "'=h", "category"]
    told = ["'=1+1", "'+1", "'-1", "'@x", "'\\t=1", "'\\r=1", "'＝1", "adam"]
    assert read["name"].tolist() == read["category"].tolist() == told
    assert read["value"].tolist() == [-1.5] * 8
    to_csv(table, tmp_path / "raw.csv", raw=True)
    with (tmp_path / "raw.csv").open(encoding="utf-8", newline="") as file:
        assert file.read() == table.to_csv(index=False)
    assert csv_cell("plain -1") == "plain -1"


def test_exports_and_leaderboards_are_safe_unless_raw(cli: CommandLine) -> None:
    (cli.folder / "bowl.toml").write_text(TINY, encoding="utf-8")
    cli("run", "bowl.toml", "--only", "optimizer=sgd")
    (stored,) = results(cli, "bowl").scan()[0]
    label = stored.document.model_copy(update={"optimizer": "=cmd|x!A1"})
    evil: list[tuple[str, Any]] = [("bowl", type(stored)(stored.files, label))]
    for raw, told in ((False, "'=cmd|x!A1"), (True, "=cmd|x!A1")):
        export(evil, cli.folder / "x.csv", raw)
        assert set(pd.read_csv(cli.folder / "x.csv")["optimizer"]) == {told}
    cli("results", "export", "y.csv", "--raw")
    assert set(pd.read_csv(cli.folder / "y.csv")["optimizer"]) == {"sgd"}
    assert "--raw: is for .csv files" in cli("results", "export", "y.parquet", "--raw", code=2).stderr
    assert "--raw: is for --format csv" in cli("leaderboard", "bowl.toml", "--raw", code=2).stderr
    both = [cli("leaderboard", "bowl.toml", "--format", "csv", *more).stdout for more in ([], ["--raw"])]
    assert both[0] == both[1]


def test_a_probe_of_any_name_is_a_table_of_a_database(cli: CommandLine) -> None:
    import duckdb

    (cli.folder / "bowl.toml").write_text(TINY + "\n[probes.line]\npoints = 3\n", encoding="utf-8")
    cli("run", "bowl.toml", "--only", "optimizer=sgd")
    (stored,) = results(cli, "bowl").scan()[0]
    ((key, probe),) = stored.document.probes.items()
    names = ['x" AS SELECT 1; CREATE TABLE "stolen', "line", "LINE"]
    documents = [
        stored.document.model_copy(
            update={
                "probes": {
                    key: probe.model_copy(
                        update={
                            "request": probe.request.model_copy(
                                update={"probe": probe.request.probe.model_copy(update={"name": name})}
                            )
                        }
                    )
                }
            }
        )
        for name in names
    ]
    export([("bowl", type(stored)(stored.files, document)) for document in documents], cli.folder / "x.duckdb")
    with duckdb.connect(str(cli.folder / "x.duckdb")) as connection:
        there = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert there == {"trials", "curves", f"probe_{names[0]}", "probe_line", "probe_LINE 2"}
