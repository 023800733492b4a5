"""Reads the tables: one file of ``tables/`` for each package, and the signatures of its classes."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SIGNATURES = HERE / "signatures.json"


@dataclass(frozen=True)
class Entry:
    """One class of a package, with its conventions."""

    package: str
    version: str
    name: str
    """The name in thalweg: the package's, then the class's."""
    path: str
    """Module and class, as ``schedulefree:AdamWScheduleFree``."""
    of: str = ""
    """A class that ``path``, then a function, makes the class of."""
    source: str = ""
    """The paper."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of arguments."""
    objects: Mapping[str, str] = field(default_factory=dict)
    """Arguments that are classes, by module and name."""
    search: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    groups: str = ""
    """The function of ``groups`` that gives the class its first argument."""
    steps: str = ""
    """An argument that gets the steps of the training."""
    epochs: str = ""
    """An argument that gets the epochs of the training, one that counts the steps of an epoch with it."""
    eager: bool = False
    """Whether torch's compiler is off."""
    slow: bool = False
    """Whether a training takes some ten times as long as most: the benchmark leaves the class out."""
    note: str = ""
    left_out: str = ""
    """Why the class is not registered; empty where it is."""
    signature: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters, conventions and summary, read from the class by ``tools/signatures.py``."""


@dataclass(frozen=True)
class Source:
    """A package."""

    package: str
    version: str
    entries: tuple[Entry, ...]


@cache
def sources() -> tuple[Source, ...]:
    """Every package, in the order of its file's name."""
    signatures = json.loads(SIGNATURES.read_text(encoding="utf-8")) if SIGNATURES.is_file() else {}
    return tuple(_source(path, signatures) for path in sorted((HERE / "tables").glob("*.toml")))


def _source(path: Path, signatures: Mapping[str, Any]) -> Source:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    package, version = table["package"], table["version"]
    common = {key: table[key] for key in ("eager",) if key in table}
    entries = []
    for name, one in table["classes"].items():
        given = common | {key: value for key, value in one.items() if key not in ("class", "module")}
        full = f"{path.stem}-{name}"
        where = f"{one.get('module', table['module'])}:{one['class']}"
        entries.append(Entry(package, version, full, where, signature=signatures.get(full, {}), **given))
    return Source(package, version, tuple(entries))


def missing(source: Source) -> str:
    """Why the classes of a package are not registered; empty where they are."""
    extra = source.package.replace("_", "-")
    way = f"pip install 'thalweg-optimizers[{extra}]'"
    try:
        installed = importlib.metadata.version(source.package)
    except importlib.metadata.PackageNotFoundError:
        return f"{source.package} is not installed ({way})"
    if installed != source.version:
        # another version may make other steps, and results do not name it
        return f"{source.package} is {installed}, not {source.version} ({way})"
    return ""


def benchmark() -> Path:
    """The file of the benchmark ``optimizers``."""
    return HERE / "optimizers.toml"
