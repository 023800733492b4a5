"""Finds the sources of a plugin: its own and all that it imports, directly or not, unless they are installed.

Imports are found by reading the sources. An import within a function counts too, although it may never run.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_OWN = frozenset({"thalweg", "thalweg_plugins"})
"""Packages whose components have revisions, so that their sources need no digest."""


def sources_of(files: Iterable[Path], folder: Path | None = None) -> dict[str, Path]:
    """The sources that files import, directly or through other sources, by name; without the files themselves.

    The standard library, installed packages and thalweg are left out.

    Args:
        files: the files to begin with.
        folder: the folder of a plugin file, where its helpers lie; None for an installed package.
    """
    found: dict[str, Path] = {}
    first = [file.resolve() for file in files]
    waiting: list[tuple[str | None, Path]] = [(None if folder is None else "", file) for file in first]
    while waiting:
        package, file = waiting.pop()
        for name in _imports(file, package):
            for part, source in _sources(name, folder):
                if part not in found and source not in first:
                    found[part] = source
                    waiting.append((part if source.stem == "__init__" else part.rpartition(".")[0], source))
    return found


def is_beside(top: str, folder: Path) -> bool:
    """Whether the name ``top`` means a module in a plugin file's folder.

    The standard library, installed packages and thalweg take precedence. A folder without ``__init__.py`` comes last,
    as it does in Python.
    """
    if top in sys.stdlib_module_names or top in _OWN or _installed(top):
        return False
    spec = PathFinder.find_spec(top, [str(folder)])
    if spec is None:
        return False
    return spec.origin is not None or _anywhere(top) is None


def _installed(top: str) -> bool:
    return any(PathFinder.find_spec(top, [folder]) is not None for folder in _folders(tuple(sys.path)))


def _anywhere(top: str) -> ModuleSpec | None:
    """The place where Python finds a module, which may be an editable install outside of ``sys.path``."""
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # an imported module without a file
        return getattr(sys.modules[top], "__spec__", None)


@functools.cache
def _folders(path: tuple[str, ...]) -> tuple[str, ...]:
    """The folders of ``sys.path`` into which packages are installed."""
    usual = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    usual.add(site.getusersitepackages())
    return tuple(one for one in path if one in usual or (one and any(Path(one).glob("*.dist-info"))))


def _imports(file: Path, package: str | None) -> Iterator[str]:
    """The full names of the modules that a file imports, with names that may be modules.

    Relative imports are relative to ``package``, which is empty for the folder of a plugin file. None leaves relative
    imports out.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # importing it says what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not (node.level and package is None):
            whole = package.split(".") if package and node.level else []
            above = whole[: len(whole) - node.level + 1]
            base = ".".join(filter(None, [*above, node.module or ""]))
            yield from filter(None, [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)])


def _sources(name: str, folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Each module that the import of ``name`` runs, with its file; nothing for modules that need no digest."""
    parts = name.split(".")
    top = parts[0]
    if folder is not None and is_beside(top, folder):
        path: list[str] | None = [str(folder)]
    elif top in sys.stdlib_module_names or top in _OWN or _installed(top):
        return
    else:
        path = None
    for count in range(1, len(parts) + 1):
        spec = _anywhere(top) if path is None else PathFinder.find_spec(parts[count - 1], path)
        if spec is None:
            return
        if spec.origin is not None and spec.has_location and spec.origin.endswith(".py"):
            yield ".".join(parts[:count]), Path(spec.origin).resolve()
        if spec.submodule_search_locations is None:
            return
        path = list(spec.submodule_search_locations)
