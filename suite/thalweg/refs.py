"""Components as a trial names them: options checked, and the user's files found and digested."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from thalweg.benchmark_file import WithOptions
from thalweg.contracts import Component, Optimizer, Option, Probe
from thalweg.contracts.option import resolve, without_defaults
from thalweg.conventions import known
from thalweg.data.digest import sha256
from thalweg.errors import UserError, unknown
from thalweg.limits import POINTS
from thalweg.registry import Entry
from thalweg.shown import brief, cut
from thalweg.trial import ComponentRef, Found, FoundBy


@dataclass(frozen=True)
class UserFiles:
    """Finds the files that options of a benchmark name, relative to the folder of the benchmark file."""

    folder: Path
    earlier: Mapping[str, str] | None = None
    """Set where results are only read: path and digest of each file that the results were made from.

    A file that is not on disk any more is then looked up here.
    """
    found: FoundBy = field(default_factory=dict)
    """What was found out about the optimizers that made the results; looked up where it is not known here."""

    def located(self, component: Component, options: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The options given, with files by their absolute paths; UserError names a file that is not there."""
        given = dict(options)
        for option in component.options:
            value = given.get(option.name)
            if option.kind == "file" and isinstance(value, str) and value:
                path = (self.folder / os.path.expanduser(value)).absolute()  # noqa: PTH111 - no error for no user
                place = str(path) if _is_file(path) else self._find_earlier(path, Path(value))
                if place is None:
                    raise UserError(f"{where}: {option.name} = {brief(value)}: there is no file {cut(str(path), 300)}")
                given[option.name] = place
        return given

    def ref(self, entry: Entry, given: Mapping[str, Any], where: str) -> ComponentRef:
        """A component with the options that the benchmark gives it."""
        ref = component_ref(entry, self.located(entry.component, given, where), where, self._digest)
        found = found_of(entry, self.found)
        return ref.model_copy(update={"found": found}) if found else ref

    def _find_earlier(self, path: Path, named: Path) -> str | None:
        """Where results had the file: at ``path``, or at the only path whose last parts are those of ``named``."""
        files = self.earlier or {}
        if str(path) in files:
            return str(path)
        parts = [part for part in named.parts if part != ".."]
        fits = [place for place in files if list(Path(place).parts[-len(parts) :]) == parts]
        # several files fit equally well, and a guess would show the results of other data
        return fits[0] if len(fits) == 1 else None

    def _digest(self, path: str) -> str:
        """The digest of a file's content; of a file that is gone, the digest that the results have."""
        return f"sha256:{sha256(Path(path))}" if _is_file(Path(path)) else (self.earlier or {}).get(path, "")


def provider_of(entry: Entry) -> tuple[str, str, str | None]:
    """What names the plugin of a component, with its version."""
    return entry.plugin.name, entry.plugin.version, entry.plugin.digest


def package_of_class(entry: Entry) -> str:
    """The installed package of a foreign optimizer's class, with its version; empty where it is the plugin's own."""
    package: str = getattr(entry.component, "package", "")
    name = package.partition(" ")[0]
    return "" if _same(name, entry.plugin.name) else package


def _same(one: str, other: str) -> bool:
    """Whether two names of packages mean one package."""
    plain = [re.sub(r"[-_.]+", "-", name).lower() for name in (one, other)]
    return plain[0] == plain[1]


def found_of(entry: Entry, earlier: FoundBy) -> Found:
    """What was found out about an optimizer's class here, else on results of its plugin; empty for anything else."""
    if not isinstance(entry.component, Optimizer):
        return Found()
    here = known(entry.component, provider_of(entry))
    return cast(Found, here) if here is not None else earlier.get((entry.name, entry.plugin.name), Found())


def component_ref(entry: Entry, located: Mapping[str, Any], where: str, digest: Callable[[str], str]) -> ComponentRef:
    """A component as a trial names it, its options checked.

    Args:
        entry: the component.
        located: the options that were given, files by their absolute paths.
        where: what an error names.
        digest: gives the digest of the file at a path.
    """
    component: Component = entry.component
    options = without_defaults(component.options, resolve(component.options, located, where))
    named = [option.name for option in component.options if option.kind == "file" and option.name in options]
    files = {name: options[name] for name in named}
    return ComponentRef(
        name=entry.name,
        options=options | {name: digest(path) for name, path in files.items()},
        provider=entry.plugin.name,
        revision=component.revision,
        digest=entry.plugin.digest,
        package=package_of_class(entry),
        files=files,
    )


def check_probe(probe: Probe, ref: ComponentRef, where: str) -> None:
    """UserError where a probe cannot run with these settings."""
    options = resolve(probe.options, ref.settings, where)
    reason = probe.misfit(options)
    if reason:
        raise UserError(f"{where}: {reason}")
    POINTS.check(probe.points(options), f"{where}: probe {probe.name!r}")


def check_keys(options: Iterable[Option], spec: WithOptions, where: str) -> None:
    """UserError where a table has a key that is no option: it may be a misspelt key of the table itself."""
    choices = {option.name for option in options} | set(type(spec).model_fields)
    for key in spec.options:
        if key not in choices:
            raise UserError(f"{where}: {unknown('key', key, choices)}")


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - false, and no error, where the path cannot be looked at
