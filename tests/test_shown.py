"""What is printed shows what it is made of: no text acts on a terminal, hides, or forges a line or a cell."""

from __future__ import annotations

import ast
import io
import json
import unicodedata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

import thalweg
import thalweg.commands.progress
from support import TINY, CommandLine, results
from thalweg.console import LONGEST_COLOURED, SafeConsole, console, print_json, print_table
from thalweg.present.table import markdown_table
from thalweg.present.verdicts import junit, section
from thalweg.scoring.compare import NOTHING
from thalweg.shown import brief, csv_cell, markdown, shown, shown_lines
from thalweg.store.export import export
from thalweg.store.sheets import to_csv

EVIL = "a\x1b[2J\x9b31m\r\x07\x7f\u202e\u2066\u2028\u200b\ufeff\U000e0041\nb\tc"
SEEN = r"a\x1b[2J\x9b31m\r\x07\x7f\u202e\u2066\u2028\u200b\ufeff\U000e0041\nb\tc"


def acting(text: str) -> list[str]:
    """The signs of a text that a terminal obeys, or that hide, but for the line breaks of a layout."""
    return [sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp", "Cs"} and sign != "\n"]


def test_every_sign_that_acts_or_hides_is_written_out() -> None:
    for number in range(0x110000):
        if unicodedata.category(chr(number)) in {"Cc", "Cf", "Zl", "Zp", "Cs"}:
            told = shown(chr(number))
            # as Python writes it in a literal
            assert told.isascii(), hex(number)
            assert eval(f"'{told}'") == chr(number)
    assert (
        shown("adam:lr=0.1 · größer · 学習 · é · 1–2 · ∞ · C:\\x")
        == "adam:lr=0.1 · größer · 学習 · é · 1–2 · ∞ · C:\\x"
    )
    assert shown(EVIL) == SEEN
    assert shown_lines("one\ntwo\x1b") == "one\ntwo\\x1b"


def test_a_console_and_a_table_show_one_line_a_text_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    SafeConsole(file=out, width=300).print(f"{EVIL} [bold]x[/bold] :smile: [/] ")
    assert out.getvalue() == f"{SEEN} [bold]x[/bold] :smile: [/] \n"
    print_table(EVIL, [EVIL, "n"], [[EVIL, 1]], right=["n"])
    printed = capsys.readouterr().out
    assert acting(printed) == []
    assert printed.count(SEEN) == 3
    assert len(printed.splitlines()) == 3


def test_a_line_and_a_cell_have_a_length(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", [""], [["x" * 10_000_000]])
    console().print("y" * 10_000_000)
    printed = capsys.readouterr().out
    assert len(printed) < 30_000
    assert printed.count("x") == printed.count("y") == 10_000


def test_nothing_is_printed_but_through_these_doors() -> None:
    """Others would have to think of it themselves. What downloads say is made of names that plugins give."""
    allowed = {
        "print": {"console.py"},
        "echo": {"cli/__init__.py"},
        "Console": {"console.py", "data/download.py"},
    }
    package = Path(thalweg.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                plain = isinstance(node.func, ast.Name)
                name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
                if name in allowed and (plain or name == "echo"):
                    assert path.relative_to(package).as_posix() in allowed[name], f"{path}: {name}"


def test_the_live_display_shows_titles_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    terminal = SafeConsole(file=out, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(thalweg.commands.progress, "errors", lambda: terminal)
    with thalweg.commands.progress.Measuring(f"\x1b]0;title\x07[red]{EVIL}") as progress:
        progress(1, 2)
    assert r"\x1b]0;title\x07[red]" + SEEN in out.getvalue()
    assert "\x1b]0;" not in out.getvalue()


def test_json_is_ascii_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"evil": EVIL, "surrogate": "\udc80"})
    SafeConsole(width=300).print_json(json.dumps({"evil": EVIL}))
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert acting(printed) == []
    first, _, second = printed.partition("}\n")
    assert json.loads(first + "}") == {"schema": 1, "evil": EVIL, "surrogate": "\udc80"}
    assert json.loads(second) == {"evil": EVIL}


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
    # what begins a line after a break inside of the value would be a line of its own
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


def test_a_cell_of_markdown_holds_its_text() -> None:
    evil = "a|b `c` <script> [x](http://y) ![i](z) *d* \\ \n| e |"
    table = markdown_table(["h|"], [[evil]])
    lines = table.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("| ") and line.endswith(" |") for line in (lines[0], lines[2]))
    # of the signs that mean something each has an odd number of backslashes before it
    inside = lines[2][2:-2]
    for place, sign in enumerate(inside):
        if sign in "|`[]*":
            before = inside[:place]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1, inside
    assert "<" not in inside
    assert markdown("adam:lr=0.1") == "adam:lr=0.1"
    assert "<" not in section("t<", [[evil] * 9], [evil])


def test_junit_is_xml_whatever_it_holds() -> None:
    row = {"workload": EVIL, "metric": EVIL, "verdict": "worse", "note": ""}
    other = row | {"verdict": NOTHING, "note": f"{EVIL}\ud800\ufffe"}
    cells = [EVIL] * 9
    suites = ElementTree.fromstring(junit(EVIL, [row, other], [cells, cells], [EVIL]))
    (case, _) = suites.iter("testcase")
    assert case.get("name", "").replace("\n", "\\n").replace("\t", "\\t") == f"{SEEN} {SEEN}"


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


def test_a_long_document_is_shown_without_colours() -> None:
    """To find them takes longer than to read a document of some megabytes."""
    for count, coloured in ((1, True), (LONGEST_COLOURED, False)):
        out = io.StringIO()
        SafeConsole(file=out, force_terminal=True, color_system="standard").print_json(json.dumps({"a": "b" * count}))
        assert ("\x1b[" in out.getvalue()) is coloured
        assert "b" * count in out.getvalue().replace("\n", "")
