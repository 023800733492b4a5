"""``thalweg plugin new``: a package with a plugin, from the templates of its kind.

``templates/package`` has the files of every package. ``templates/KIND`` has what a kind adds: ``kind.toml`` with its
words, ``module.py.j2``, ``imports.py.j2`` and ``test.py.j2`` for the test, and ``try*.j2`` for a first use of what
no built-in benchmark has. A further kind is a further folder.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from thalweg.console import console, print_json
from thalweg.errors import UserError, unknown
from thalweg.registry import Registry, load_registry

TEMPLATES = Path(__file__).parents[1] / "templates"
_PACKAGE = "package"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 60
"""Characters of a name; it becomes names of files and of a package."""


def kinds() -> list[str]:
    """The kinds of plugins that have templates."""
    return sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir() and path.name != _PACKAGE)


@dataclass(frozen=True)
class NewPlugin:
    """The package to make."""

    name: str
    """The name of component, plugin, package and folder."""
    kind: str
    folder: Path

    @property
    def module(self) -> str:
        """The name of the Python module."""
        return self.name.replace("-", "_")

    def files(self) -> dict[str, str]:
        """The text of each file, by its path within the folder."""
        texts = {one: tomllib.loads(self._read(f"{self.kind}/kind.toml"))[one] for one in _WORDS}
        shell = shlex.quote(str(self.folder))
        values = {
            "name": self.name,
            "kind": self.kind,
            "module": self.module,
            "camel": "".join(part.capitalize() for part in self.name.split("-")),
            "folder": shell,
        }
        for key, text in texts.items():
            values[key] = self._rendered(text, values).strip()
        # the README's commands run in the folder
        inside = values | {"use": values["use"].replace(f"{shell}/", "")}
        made = {f"{self.module}.py": self._file(f"{self.kind}/module.py.j2", values)}
        parts = {key: self._file(f"{self.kind}/{key}.py.j2", values).strip() for key in ("imports", "test")}
        root = TEMPLATES / _PACKAGE
        for path in sorted(root.rglob("*.j2")):
            name = path.relative_to(root).as_posix().removesuffix(".j2").replace("MODULE", self.module)
            made[name] = self._file(path.relative_to(TEMPLATES).as_posix(), inside | parts)
        for path in (TEMPLATES / self.kind).glob("try*.j2"):
            name = path.name.removesuffix(".j2").replace("NAME", self.name)
            made[name] = self._file(f"{self.kind}/{path.name}", values)
        return made

    def next_commands(self) -> list[str]:
        """Install, test, check, use."""
        shell = shlex.quote(str(self.folder))
        use = self._rendered(
            tomllib.loads(self._read(f"{self.kind}/kind.toml"))["use"], {"name": self.name, "folder": shell}
        )
        with_tests = shlex.quote(f"{self.folder}[test]")
        return [f"pip install -e {with_tests}", f"pytest {shell}", f"thalweg plugin check {self.name}", use]

    def _file(self, path: str, values: dict[str, Any]) -> str:
        return self._rendered(self._read(path), values)

    def _read(self, path: str) -> str:
        return (TEMPLATES / path).read_text(encoding="utf-8")

    def _rendered(self, text: str, values: dict[str, Any]) -> str:
        return _ENVIRONMENT.from_string(text).render(values)


_WORDS = ("article", "summary", "use", "edit")
"""The texts of ``kind.toml``."""

# Python, TOML and GitHub's workflows use the usual delimiters themselves
_ENVIRONMENT = jinja2.Environment(
    variable_start_string="<< ",
    variable_end_string=" >>",
    block_start_string="<%",
    block_end_string="%>",
    comment_start_string="<#",
    comment_end_string="#>",
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)


def new_command(name: str, kind: str, into: Path, as_json: bool) -> None:
    """Make the package, and print what to do with it.

    Raises:
        UserError: the kind, the name or the folder is refused.
    """
    if kind not in kinds():
        raise UserError(f"--kind: {unknown('kind', kind, kinds())}")
    _check_name(name, kind, load_registry())
    if not into.is_dir():
        raise UserError(f"--into {into}: there is no such folder")
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} is there already: choose another name, or another folder with --into")
    plugin = NewPlugin(name, kind, folder)
    files = plugin.files()
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    commands = plugin.next_commands()
    if as_json:
        print_json({"plugin": name, "kind": kind, "folder": str(folder), "files": sorted(files), "next": commands})
        return
    out = console()
    out.print(f"{folder} has {', '.join(sorted(files))}. Next:")
    for command in commands:
        out.print(f"  $ {command}", soft_wrap=True)


def _check_name(name: str, kind: str, registry: Registry) -> None:
    """Refuse a name that is not valid, or is taken."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", _hyphened(name)[:_LONGEST].lower()).strip("-0123456789")
        hint = f"; did you mean {near!r}?" if _NAME.fullmatch(near) else f", such as 'my-{kind}'"
        rule = f"of at most {_LONGEST} characters that begins with a letter"
        raise UserError(f"name {name!r} is no name of lower-case words joined by hyphens, {rule}{hint}")
    plugins = [record.name for record in registry.plugins]
    if name in plugins:
        raise UserError(f"a plugin {name!r} is installed already: choose another name")
    holder = registry.taken(f"{kind}s", name)
    if holder is not None:
        raise UserError(f"{kind} {name!r} is already registered by plugin {holder.plugin.name!r}: choose another name")
    module = name.replace("-", "_")
    if keyword.iskeyword(module):
        raise UserError(f"name {name!r} is a word of Python's own, which no module may have: choose another name")
    if module in sys.stdlib_module_names or _is_installed(module):
        raise UserError(f"a package {name!r} has the module {module!r}, which Python has already: choose another name")


def _hyphened(name: str) -> str:
    """A name in camel case with hyphens between its words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)


def _is_installed(module: str) -> bool:
    """Whether an import of the module would find a file. A folder of that name alone is no module."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None
