"""Exit codes are named once, documented, and promised."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import thalweg
import thalweg_plugins
from support import CommandLine
from thalweg.exit_codes import ExitCode

ROOT = Path(__file__).parents[1]
FILES = [path for package in (thalweg, thalweg_plugins) for path in sorted(Path(package.__file__).parent.rglob("*.py"))]


def literals(tree: ast.AST) -> list[int]:
    """Lines where a number ends a process, or is returned as an exit code."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
            if name in ("exit", "_exit", "Exit", "SystemExit"):
                found += [part.lineno for argument in node.args for part in ast.walk(argument) if _is_number(part)]
        if isinstance(node, ast.FunctionDef) and _ends_a_command(node):
            returned = [part.value for part in ast.walk(node) if isinstance(part, ast.Return) and part.value]
            found += [part.lineno for value in returned for part in ast.walk(value) if _is_number(part)]
    return found


def _ends_a_command(function: ast.FunctionDef) -> bool:
    return function.name.endswith("_command") or "ExitCode" in ast.unparse(function.returns or ast.Constant(None))


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


@pytest.mark.parametrize(
    "text",
    [
        "sys.exit(2)",
        "os._exit(130)",
        "raise typer.Exit(1 if failed else 0)",
        "def f() -> ExitCode:\n  return 0",
        "def run_command():\n  return 130 if interrupted else ExitCode.DONE",
    ],
)
def test_the_search_finds_literals(text: str) -> None:
    assert literals(ast.parse(text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_has_a_literal_exit_code(path: Path) -> None:
    assert literals(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_the_numbers_are_those_that_other_programs_rely_on() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0, "FAILED": 1, "MISTAKE": 2, "NOTHING": 3, "UNDECIDED": 4, "INTERRUPTED": 130,
    }  # fmt: skip


def test_the_documented_exit_codes_are_those_that_exist(cli: CommandLine) -> None:
    text = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    section = text.split("## Exit codes\n", 1)[1].split("\n## ", 1)[0]
    rows = {int(number): told for number, told in re.findall(r"^\| (\d+) \| (.*?) \|$", section, re.MULTILINE)}
    assert rows == {code.value: code.meaning for code in ExitCode}
    told = " ".join(cli("--help").stdout.split())
    assert all(f"{code.value} {code.meaning}" in told for code in ExitCode)
