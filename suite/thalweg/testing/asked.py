"""The checks of one plugin, which a user names by the plugin's name or by its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import NothingThere, UserError, unknown
from thalweg.registry import PluginRecord, Registry, load_registry
from thalweg.testing.kit import CHECKS, Check, checks


@dataclass(frozen=True)
class Asked:
    """A plugin with its checks."""

    plugin: PluginRecord
    files: tuple[Path, ...]
    """The plugin files that must be loaded."""
    checks: list[Check]


def asked(target: str, only: Sequence[str] = ()) -> Asked:
    """The checks of a plugin.

    Args:
        target: the name of an installed plugin, or the path of a plugin file.
        only: names of checks or components, or whole ids of checks; all checks where empty.

    Raises:
        UserError: there is no such plugin or check, or the plugin failed to load.
        NothingThere: the plugin has registered nothing that the kit checks.
    """
    path = Path(target)
    is_file = path.is_file() or target.endswith(".py")
    if is_file and not path.is_file():
        raise UserError(f"{target}: there is no such file")
    files = (path,) if is_file else ()
    registry = load_registry(files)
    record = registry.plugins[-1] if is_file else _installed(target, registry)
    if record.error:
        raise UserError(f"plugin {record.name!r} failed to load: {record.error}")
    found = checks(registry, plugin=record.name)
    if not found:
        raise NothingThere(f"plugin {record.name!r} has registered no component, so there is nothing to check")
    return Asked(record, files, _selected(found, only))


def _installed(name: str, registry: Registry) -> PluginRecord:
    """The plugin of a name. A folder of the plugin's name does not hide the plugin."""
    plugins = {record.name: record for record in registry.plugins}
    if name in plugins:
        return plugins[name]
    if Path(name).is_dir():
        raise UserError(f"{name} is a folder: give a plugin file, or install the package and give its plugin's name")
    owners = [entry.plugin.name for kind in CHECKS for entry in registry.entries(kind) if entry.name == name]
    hint = f". {name!r} is a component of the plugin {owners[0]!r}" if owners else ""
    raise UserError(unknown("plugin", name, plugins) + hint)


def _selected(found: list[Check], only: Sequence[str]) -> list[Check]:
    words = [(check, {str(check), check.name, check.condition.name}) for check in found]
    for name in only:
        if not any(name in names for _, names in words):
            choices = {name for check, _ in words for name in (check.name, check.condition.name)}
            raise UserError(f"--only: {unknown('check', name, choices)}")
    return [check for check, names in words if not only or names & set(only)]
