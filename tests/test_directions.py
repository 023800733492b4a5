"""Imports run one way: every room enters only rooms below it, as docs/design.md says, and no modules form a circle."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"thalweg": ROOT / "suite", "thalweg_plugins": ROOT / "plugins"}
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of each row of the first table under a heading of docs/design.md."""
    section = DESIGN.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return rows[2:]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)", cell)


LAYERS = [names(rooms) for rooms, _ in table("Rooms, and who may enter whom")]
"""The rooms from top to bottom."""
HEIGHT = {room: -number for number, layer in enumerate(LAYERS) for room in layer}
OUTSIDE = "thalweg_plugins"
"""The built-ins stand outside of the house: a separate table lists the rooms they may enter; no room enters them."""


@cache
def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in (folder / package).rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def targets_of(source: str, module: str, package: bool) -> set[str]:
    """The modules of this repository that a source imports, anywhere in its text, for type checking too.

    Relative imports count, and so do names of modules that are given to ``import_module`` or ``__import__``.
    """
    targets: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")
            above = above[: len(above) + package - node.level] if node.level else []
            begin = ".".join([*above, *([node.module] if node.module else [])])
            wholes = [f"{begin}.{alias.name}" for alias in node.names]
            targets += [whole if whole in modules() else begin for whole in wholes]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "import_module",
            "__import__",
        ):
            words = [*node.args, *(keyword.value for keyword in node.keywords)]
            targets += [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    return {target for target in targets if target in modules() and target != module}


@cache
def imports() -> dict[str, set[str]]:
    """For each module the modules of this repository that it imports."""
    return {
        module: targets_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        for module, path in modules().items()
    }


@pytest.mark.parametrize(
    "source",
    [
        "import thalweg.app.pages as pages",
        "from thalweg.app import pages",
        "from thalweg.app.pages import anything",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import thalweg.app.pages",
        "def late():\n    from thalweg.app import pages",
        "from ..app import pages",
        "from ..app.pages import anything",
        "from .. import app",
        "import importlib\nimportlib.import_module('thalweg.app.pages')",
        "from importlib import import_module\nimport_module(name='thalweg.app.pages')",
        "__import__('thalweg.app')",
    ],
)
def test_no_way_of_importing_is_overlooked(source: str) -> None:
    assert {room(target) for target in targets_of(source, "thalweg.present.view", package=False)} == {"app"}


def test_relative_imports_of_a_package_begin_in_the_package() -> None:
    assert targets_of("from . import view", "thalweg.present", package=True) == {"thalweg.present.view"}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "thalweg" and len(parts) > 1 else parts[0]


def test_every_room_is_in_the_table_and_nothing_else() -> None:
    assert {room(module) for module in modules()} - {OUTSIDE} == set(HEIGHT)


def test_every_room_enters_only_rooms_below_it() -> None:
    upward = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in sorted(targets)
        if room(module) not in (room(target), OUTSIDE)
        and (room(target) == OUTSIDE or HEIGHT[room(target)] >= HEIGHT[room(module)])
    ]
    assert upward == []


def test_no_modules_form_a_circle() -> None:
    try:
        tuple(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_built_ins_enter_only_what_a_plugin_may() -> None:
    public = {name for cells in table("What a plugin may enter") for name in names(cells[0])}
    entered = {
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if room(module) == OUTSIDE != room(target) and room(target) not in public
    }
    assert entered == set()


def test_the_core_names_the_built_ins_in_the_registry_alone() -> None:
    naming = {
        module
        for module, path in modules().items()
        if module.startswith("thalweg.") and re.search(r"\bthalweg_plugins\b", path.read_text(encoding="utf-8"))
    }
    assert naming == {"thalweg.registry", "thalweg.plugin_sources"}
