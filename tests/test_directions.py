"""Imports run one way: every room enters only rooms below it, as docs/design.md says, and no modules form a circle."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
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


@cache
def imports() -> dict[str, set[str]]:
    """For each module the modules of this repository that it imports, anywhere in its file, for type checking too."""
    edges: dict[str, set[str]] = defaultdict(set)
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                wholes = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [whole if whole in modules() else node.module for whole in wholes]
            else:
                continue
            edges[module] |= {target for target in targets if target in modules() and target != module}
    return edges


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
