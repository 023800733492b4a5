"""The console prints each text as one line, and nothing else prints."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path

import pytest

import thalweg
import thalweg.commands.progress
from strange_texts import EVIL, SEEN, acting
from thalweg.console import LONGEST_COLOURED, SafeConsole, console, print_json, print_table


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


def test_a_long_document_is_shown_without_colours() -> None:
    """To find them takes longer than to read a document of some megabytes."""
    for count, coloured in ((1, True), (LONGEST_COLOURED, False)):
        out = io.StringIO()
        SafeConsole(file=out, force_terminal=True, color_system="standard").print_json(json.dumps({"a": "b" * count}))
        assert ("\x1b[" in out.getvalue()) is coloured
        assert "b" * count in out.getvalue().replace("\n", "")
