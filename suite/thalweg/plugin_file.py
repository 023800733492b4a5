"""Imports a plugin file together with the modules that lie beside it.

``from rules import FACTOR`` in ``folder/plugin.py`` means ``folder/rules.py``, while the file loads and afterwards.
Nothing is added to ``sys.path``, so no other code sees that folder. The plugin file and its helpers are modules of a
package ``thalweg_plugin_file_<hash of the path>``. So two plugin files may have helpers of one name, and every process
gives the modules equal names, which pickled classes need.

The builtins of these modules have a special ``__import__``; Python looks for ``__import__`` among the builtins.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from thalweg.plugin_sources import is_beside

PREFIX = "thalweg_plugin_file_"


def package_of(path: Path) -> str:
    """The name of the package that a plugin file and its helpers belong to."""
    return PREFIX + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]


def import_file(path: Path) -> ModuleType:
    """Import a plugin file anew, with the helpers that it imports.

    Raises:
        ImportError: the file is no Python file.
    """
    path = path.resolve()
    package = package_of(path)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    parent = ModuleType(package, f"What {path.name} and the modules beside it belong to.")
    parent.__path__ = [str(path.parent)]
    sys.modules[package] = parent
    # a dot in a module's name separates packages, so a file name with further dots cannot be a module's name
    name = f"{package}.{path.stem.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    if isinstance(spec.loader, SourceFileLoader):
        spec.loader = _Loader(name, str(path))
        spec.cached = None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def imported_beside(path: Path) -> dict[str, Path]:
    """The sources beside a plugin file that were imported for it, by the names that the file uses."""
    package = package_of(path)
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith(f"{package}.") and file and Path(file) != path.resolve():
            found[name.removeprefix(f"{package}.")] = Path(file)
    return found


class _Loader(SourceFileLoader):
    """Runs a source with imports relative to the plugin's folder.

    The source is compiled anew each time. Python takes old bytecode for new if an edit changes neither the size nor the
    second of the last change, and then the code would not be the code of the digest.
    """

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        _give_import(module)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of plugin files' packages. Python finds all other modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
            spec.cached = None
        return spec


def _give_import(module: ModuleType) -> None:
    package = module.__name__.split(".")[0]
    (folder,) = map(Path, sys.modules[package].__path__)
    # an optimizer's step may contain an import
    beside = functools.cache(lambda top: is_beside(top, folder))

    def import_(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names of Python's own
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not beside(top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{package}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{package}.{name}")
        # `import a.b` binds a
        return sys.modules[f"{package}.{top}"]

    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_}
