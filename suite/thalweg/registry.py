"""Loads plugins, keeps their components and failures, and looks components up by name."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import pluggy

from thalweg import __version__, hookspecs
from thalweg.contracts import Architecture, Claim, Executor, Importer, Optimizer, Probe, Problem
from thalweg.errors import UserError, unknown
from thalweg.plugin_file import import_file, imported_beside
from thalweg.plugin_sources import sources_of

DEFAULT_PLUGINS = (
    "thalweg_plugins.optimizers",
    "thalweg_plugins.architectures",
    "thalweg_plugins.problems",
    "thalweg_plugins.probes",
    "thalweg_plugins.benchmarks",
    "thalweg_plugins.claims",
    "thalweg_plugins.importers",
    "thalweg_plugins.tensorboard",
    "thalweg.runner.serial",
    "thalweg.runner.processes",
    "thalweg.runner.dask",
)
"""The built-in plugins; the only place where the core names them."""

GROUP = "thalweg"


KINDS: dict[str, type] = {
    "optimizers": Optimizer,
    "architectures": Architecture,
    "problems": Problem,
    "probes": Probe,
    "claims": Claim,
    "benchmarks": Path,
    "executors": Executor,
    "importers": Importer,
}
"""Every kind of thing that can be registered, in the plural, with its contract."""


@dataclass
class PluginRecord:
    """A plugin with the components that it registered, or with its error. A plugin registers everything or nothing."""

    name: str
    version: str
    origin: Literal["built-in", "entry point", "file"]
    registered: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None
    traceback: str | None = None
    notes: list[str] = field(default_factory=list)
    """What the plugin says of itself, such as which of its sources are not installed."""
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    """Components that the plugin has and does not register here, by kind and name, with the reason."""
    digest: str | None = None
    """SHA-256 of the sources, for plugin files and editable installs, whose version does not change with an edit."""


@dataclass(frozen=True)
class Entry:
    """A registered component and the plugin that provides it."""

    name: str
    component: Any
    plugin: PluginRecord


class Registry:
    """The registered components, by kind and name."""

    def __init__(self, manager: pluggy.PluginManager, plugin_files: Sequence[Path] = ()) -> None:
        self.manager = manager
        self.plugin_files = tuple(plugin_files)
        self.plugins: list[PluginRecord] = []
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}

    def entries(self, kind: str) -> list[Entry]:
        """Everything of a kind, sorted by name."""
        return [self._entries[kind][name] for name in sorted(self._entries[kind])]

    def in_order(self, kind: str) -> list[Entry]:
        """Everything of a kind, in the order of registration: built-ins first."""
        return list(self._entries[kind].values())

    def entry(self, kind: str, name: str, where: str = "") -> Entry:
        """Look up a component. UserError names the nearest name, and the plugins that failed to load."""
        found = self._entries[kind].get(name)
        if found is None:
            prefix = f"{where}: " if where else ""
            self.check_absent(kind, name, prefix)
            failed = [f"{record.name} ({record.error})" for record in self.plugins if record.error]
            note = f". Plugins that failed to load: {'; '.join(failed)}" if failed else ""
            raise UserError(prefix + unknown(kind[:-1], name, self._entries[kind]) + note)
        return found

    def check_absent(self, kind: str, name: str, prefix: str = "") -> None:
        """Raise UserError with the reason of a plugin that says why a component is not here."""
        for record in self.plugins:
            if reason := record.absent.get((kind, name)):
                raise UserError(f"{prefix}{kind[:-1]} {name!r} of plugin {record.name!r} is not here: {reason}")

    def optimizer(self, name: str, where: str = "") -> Optimizer:
        """The optimizer of that name."""
        return cast(Optimizer, self.entry("optimizers", name, where).component)

    def architecture(self, name: str, where: str = "") -> Architecture:
        """The architecture of that name."""
        return cast(Architecture, self.entry("architectures", name, where).component)

    def problem(self, name: str, where: str = "") -> Problem:
        """The problem of that name."""
        return cast(Problem, self.entry("problems", name, where).component)

    def probe(self, name: str, where: str = "") -> Probe:
        """The probe of that name."""
        return cast(Probe, self.entry("probes", name, where).component)

    def executor(self, name: str, where: str = "") -> Executor:
        """The executor of that name."""
        return cast(Executor, self.entry("executors", name, where).component)

    def benchmark(self, name: str, where: str = "") -> Path:
        """The TOML file of the benchmark of that name."""
        return cast(Path, self.entry("benchmarks", name, where).component)

    def add(self, plugin: PluginRecord, load: Any) -> None:
        """Load a plugin and take all its components, or none of them; its record keeps a failure."""
        self.plugins.append(plugin)
        found: list[tuple[str, Entry]] = []
        module: Any = None
        try:
            # standard output may hold one JSON document and nothing else
            with contextlib.redirect_stdout(sys.stderr):
                module = load()
                _check_markers(self.manager, module)
                self.manager.register(module, name=plugin.name)
                self.manager.check_pending()
                others = [other for other in self.manager.get_plugins() if other is not module]
                for kind in KINDS:
                    hook = self.manager.subset_hook_caller(f"thalweg_register_{kind}", remove_plugins=others)
                    hook(register=_Register(self, plugin, kind, found))
        except (Exception, SystemExit) as error:
            plugin.error = _one_line(error)
            plugin.traceback = traceback.format_exc()
            if module is not None and self.manager.is_registered(module):
                self.manager.unregister(module)
            return
        for kind, entry in found:
            self._entries[kind][entry.name] = entry
            plugin.registered.setdefault(kind, []).append(entry.name)
        for names in plugin.registered.values():
            names.sort()

    def taken(self, kind: str, name: str) -> Entry | None:
        """The component that has a name already; None where the name is free."""
        if kind == "claims":  # ids are looked up in any case, and name folders on disks that ignore it
            return next((entry for one, entry in self._entries[kind].items() if one.lower() == name.lower()), None)
        return self._entries[kind].get(name)


class _Register:
    """The callback that a hook receives."""

    def __init__(self, registry: Registry, plugin: PluginRecord, kind: str, found: list[tuple[str, Entry]]) -> None:
        self._registry, self._plugin, self._kind, self._found = registry, plugin, kind, found

    def note(self, text: str) -> None:
        """Add a line about the plugin to ``thalweg plugins``."""
        self._plugin.notes.append(str(text))

    def absent(self, name: str, reason: str) -> None:
        """Say why a component is not registered here; who asks for it reads the reason."""
        self._plugin.absent[self._kind, str(name)] = str(reason)

    def __call__(self, component: Any, /, **settings: Any) -> None:
        given, component = component, _component(self._kind, component, settings)
        name = component.stem if isinstance(component, Path) else component.name
        holder = self._registry.taken(self._kind, name)
        owner = holder.plugin.name if holder else None
        if owner is None and any(kind == self._kind and entry.name == name for kind, entry in self._found):
            owner = self._plugin.name
        if owner is not None:
            way = f": register({given.__name__}, name='...') gives it another" if _is_torch_optimizer(given) else ""
            raise ValueError(f"{self._kind[:-1]} {name!r} is already registered by plugin {owner!r}{way}")
        self._found.append((self._kind, Entry(name, component, self._plugin)))


def _component(kind: str, component: Any, settings: dict[str, Any]) -> Any:
    """The instance of a component that a plugin registered, checked against its contract."""
    singular = kind[:-1]
    if kind == "benchmarks":
        path = Path(component)
        if path.suffix != ".toml" or not path.is_file():
            raise ValueError(f"benchmark {str(component)!r} is no TOML file")
        return path
    if kind == "optimizers" and _is_torch_optimizer(component):
        from thalweg.contracts.torch_adapter import TorchOptimizer

        component = TorchOptimizer(component, **settings)
    elif settings:
        raise TypeError(f"register() takes settings only with a torch.optim.Optimizer class, got {', '.join(settings)}")
    contract = KINDS[kind]
    if isinstance(component, type) and issubclass(component, contract):
        missing = sorted(getattr(component, "__abstractmethods__", ()))
        if missing:
            raise TypeError(f"{singular} {component.__name__} does not implement {', '.join(missing)}")
        component = component()
    if not isinstance(component, contract):
        raise TypeError(f"{component!r} is no {singular}: subclass thalweg.{contract.__name__}")
    violations = component.contract_violations()  # type: ignore[attr-defined]
    if violations:
        raise ValueError(f"{singular} {getattr(component, 'name', component)!r}: {'; '.join(violations)}")
    return component


def _is_torch_optimizer(component: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(component, type) and issubclass(component, torch.optim.Optimizer)


def _check_markers(manager: pluggy.PluginManager, module: Any) -> None:
    """Refuse a misspelt hook, or a hook without its marker. pluggy would ignore them or explain them badly."""
    hooks = [name for name in vars(hookspecs) if name.startswith("thalweg_")]
    for name, member in inspect.getmembers(module, callable):
        if name.startswith("thalweg_"):
            if name not in hooks:
                raise ValueError(unknown("hook", name, hooks))
            if manager.parse_hookimpl_opts(module, name) is None:
                line = inspect.getsourcelines(member)[1] if inspect.isfunction(member) else 0
                raise ValueError(f"{name} (line {line}) lacks the marker @thalweg.hookimpl")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        text = f"{error.msg} ({Path(error.filename).name}, line {error.lineno})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_built_in(cls: type) -> bool:
    """Whether a class belongs to a built-in plugin, whose behaviour the project's tests check."""
    return cls.__module__.startswith("thalweg_plugins.")


def make_plugin_manager() -> pluggy.PluginManager:
    """A pluggy manager that knows thalweg's hooks and holds no plugin yet."""
    manager = pluggy.PluginManager("thalweg")
    manager.add_hookspecs(hookspecs)
    return manager


def load_registry(plugin_files: Iterable[str | Path] = ()) -> Registry:
    """Load the built-ins, then installed plugins (entry points of group ``thalweg``), then ``plugin_files``.

    With ``THALWEG_DISABLE_PLUGINS=1`` in the environment only the built-ins are loaded. A plugin file that does not
    exist is a UserError, because the user named it. A failure inside of a plugin is kept as data.
    """
    files = [Path(path) for path in plugin_files]
    disabled = os.environ.get("THALWEG_DISABLE_PLUGINS", "") not in ("", "0")
    if disabled and files:
        raise UserError(f"--plugin {files[0]}: THALWEG_DISABLE_PLUGINS is set, so only the built-ins are loaded")
    registry = Registry(make_plugin_manager(), [path.resolve() for path in files])
    for name in DEFAULT_PLUGINS:
        record = PluginRecord(name, __version__, "built-in")
        registry.add(record, lambda name=name: importlib.import_module(name))
    if disabled:
        return registry
    points = importlib.metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: point.name):
        version = point.dist.version if point.dist else "unknown"
        name = _free_name(registry, point.name)
        record = PluginRecord(name, version, "entry point")
        registry.add(record, point.load)
        if _is_editable(point.dist) and record.error is None:
            record.digest = _digest_package(registry.manager.get_plugin(name))
    for path in files:
        if not path.is_file():
            raise UserError(f"--plugin {path}: there is no such file")
        record = PluginRecord(_free_name(registry, path.stem), "file", "file")
        registry.add(record, lambda path=path: import_file(path))
        record.digest = _digest([path], sources_of([path], path.resolve().parent) | imported_beside(path))
    return registry


def _free_name(registry: Registry, name: str) -> str:
    """Two plugins of one name would be refused by pluggy for the name alone; the second says where it is from."""
    names = {record.name for record in registry.plugins}
    count = 1
    free = name
    while free in names:
        count += 1
        free = f"{name} ({count})"
    return free


def _is_editable(dist: importlib.metadata.Distribution | None) -> bool:
    text = dist.read_text("direct_url.json") if dist else None
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))


def _digest_package(plugin: Any) -> str | None:
    module = plugin if isinstance(plugin, ModuleType) else inspect.getmodule(plugin)
    if module is None or module.__file__ is None:
        return None
    top = sys.modules[module.__name__.split(".")[0]]
    folders = [Path(folder) for folder in getattr(top, "__path__", [])]
    files = sorted(path for folder in folders for path in folder.rglob("*.py")) or [Path(module.__file__)]
    mine = {file.resolve() for file in files}
    return _digest(files, {name: path for name, path in sources_of(files).items() if path not in mine})


def _digest(files: Iterable[Path], imported: Mapping[str, Path]) -> str:
    """The digest of a plugin's own files and the files they import. Without imports it is an older version's."""
    digest = hashlib.sha256()
    for label, path in [*((path.name, path) for path in files), *sorted(imported.items())]:
        digest.update(label.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
