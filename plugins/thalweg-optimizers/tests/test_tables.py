"""The tables, what is generated from them, and what is said of missing packages. None of the packages is needed."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from thalweg_optimizers import thalweg_register_benchmarks, thalweg_register_optimizers
from thalweg_optimizers.groups import GROUPS
from thalweg_optimizers.sources import Entry, benchmark, sources

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import benchmark as tool  # noqa: E402
import measure  # noqa: E402

ENTRIES = [entry for source in sources() for entry in source.entries]
REGISTERED = [entry for entry in ENTRIES if not entry.left_out]


class Registered(dict[str, Any]):
    """What is registered, by name, and the notes."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.reasons: dict[str, str] = {}

    def __call__(self, component: Any) -> None:
        assert component.contract_violations() == []
        assert component.name not in self
        self[component.name] = component

    def note(self, text: str) -> None:
        self.notes.append(text)

    def absent(self, name: str, reason: str) -> None:
        self.reasons[name] = reason


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_every_class_has_a_signature_or_a_reason_to_be_left_out() -> None:
    assert [entry.name for entry in REGISTERED if not entry.signature] == []
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    assert {entry.groups for entry in REGISTERED} <= {"", *GROUPS}


def test_everything_is_registered_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {source.package: source.version for source in sources()})
    before = set(sys.modules)
    register = Registered()
    thalweg_register_optimizers(register)
    assert set(register) == {entry.name for entry in REGISTERED}
    assert register.notes == []
    assert set(register.reasons) == {entry.name for entry in ENTRIES if entry.left_out}
    assert all(one.source for one in register.values())
    packages = {entry.path.partition(":")[0].partition(".")[0] for entry in ENTRIES}
    assert not packages & (set(sys.modules) - before)


def test_a_missing_package_registers_nothing_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {source.package: source.version for source in sources()}
    del versions["schedulefree"]
    versions["lion-pytorch"] = "99.0"
    installed(monkeypatch, versions)
    register = Registered()
    thalweg_register_optimizers(register)
    assert not [name for name in register if name.startswith(("schedulefree-", "lion-pytorch-"))]
    (note,) = register.notes
    assert "lion-pytorch is 99.0, not 0.2.5 (pip install 'thalweg-optimizers[lion-pytorch]')" in note
    assert "schedulefree is not installed (pip install 'thalweg-optimizers[schedulefree]')" in note
    assert "schedulefree is not installed" in register.reasons["schedulefree-adamwschedulefree"]
    assert register.reasons["lion-pytorch-lion"].startswith("lion-pytorch is 99.0, not 0.2.5")
    files = Registered()
    thalweg_register_benchmarks(files)
    assert files == {}
    way = "pip install 'thalweg-optimizers[all]'"
    assert files.reasons == {"optimizers": f"it needs every package, and lacks lion-pytorch, schedulefree: {way}"}


def test_extras_and_constraints_are_the_tables_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = dict(project["optional-dependencies"])
    every = extras.pop("all")
    pins = {f"{source.package.replace('_', '-')}=={source.version}" for source in sources()}
    assert {pins_of[0] for pins_of in extras.values()} == pins
    assert set(every) == {pin for pins_of in extras.values() for pin in pins_of}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert pins <= {line for line in lines if not line.startswith("#")}


def test_the_table_and_the_benchmark_are_generated_from_the_results() -> None:
    found = measure.read()
    assert (ROOT / "TABLE.md").read_text(encoding="utf-8") == measure.table(found)
    assert benchmark().read_text(encoding="utf-8") == tool.text()
    assert set(found) == {entry.name for entry in REGISTERED}


def test_more_than_120_run_on_digits() -> None:
    statuses = [row["digits"]["status"] for row in measure.read().values()]
    assert statuses.count("done") >= 120


@pytest.mark.parametrize("entry", REGISTERED, ids=lambda entry: entry.name)
def test_names_are_the_packages_and_the_classes(entry: Entry) -> None:
    assert entry.name.startswith(re.sub(r"[^a-z0-9]+", "-", entry.package.lower()) + "-")


def test_the_table_has_every_check_of_todays_kit() -> None:
    from thalweg.testing.kit import CHECKS

    names = {condition.name for condition in CHECKS["optimizers"]}
    found = measure.read()
    assert found.keys() == {entry.name for entry in REGISTERED}
    for name, row in found.items():
        kit = row["kit"]
        seen = {*kit["passed"], *kit["failed"], *kit["skipped"]}
        # a check that hangs or ends its process cuts off those after it
        cut = any(told.startswith(("took longer", "its process ended")) for told in kit["failed"].values())
        assert seen == names or (cut and seen - {"begin"} < names), name
