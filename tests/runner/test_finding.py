"""What foreign classes need is found out in a process of its own, kept, hashed and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import CommandLine
from thalweg import conventions
from thalweg.conventions import known
from thalweg.refs import provider_of
from thalweg.registry import Registry, load_registry
from thalweg.runner.finding import find_out, unknown_of
from thalweg.testing import checks

CLASSES = """
import os, time, torch, thalweg

class Base(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
        self.parameters = [p for group in self.param_groups for p in group["params"]]
    @torch.no_grad()
    def move(self, sign=-1):
        for p in self.parameters:
            p.add_(p.grad, alpha=sign * self.param_groups[0]["lr"])

class Plain(Base):
    def step(self, closure=None):
        print("printed by plain")
        self.move()

class Optional(Base):
    def step(self, closure=None):
        if closure is not None:
            closure()
        self.move()

class Asserts(Base):
    def step(self, closure=None):
        assert closure is not None
        closure()
        self.move()

class Demands(Base):
    def step(self, closure):
        closure()
        self.move()

class Ascends(Base):
    def step(self, closure=None):
        assert closure is not None, "two gradients a step"
        there = [p for p in self.parameters if p.grad is not None]
        for p in there:
            p.data.add_(p.grad, alpha=0.05)
        grads = [p.grad.clone() for p in there]
        closure()
        for p, g in zip(there, grads):
            p.data.sub_(g, alpha=0.05)
        self.move()

class Graph(Base):
    def step(self, closure=None):
        torch.autograd.grad([p.grad.sum() for p in self.parameters], self.parameters)
        self.move()

class OtherModes(Base):
    def train(self, loader): ...
    def eval(self, loader): ...
    def step(self, closure=None):
        self.move()

class Modes(Base):
    def train(self): ...
    def eval(self): ...
    def step(self, closure=None):
        self.move()

class Hangs(Base):
    def step(self, closure=None):
        time.sleep(1000)

class Dies(Base):
    def step(self, closure=None):
        os._exit(3)

class Fails(Base):
    def step(self, closure=None):
        raise ValueError("of no use")

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    for cls in (Plain, Optional, Asserts, Demands, Ascends, Graph, OtherModes, Modes, Hangs, Dies, Fails):
        register(cls)
    register(Asserts, name="given", closure=True, create_graph=False)
"""

FOUND = {
    "plain": {},
    "optional": {},
    "asserts": {"closure": True},
    "demands": {},
    "ascends": {"closure": "with gradients"},
    "graph": {"create_graph": True},
    "othermodes": {"modes": False},
    "modes": {},
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The classes as a plugin file, of which this process and this cache know nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(conventions, "_known", {})
    path = tmp_path / "classes.py"
    path.write_text(CLASSES, encoding="utf-8")
    return path


def known_of(registry: Registry, name: str) -> dict[str, Any] | None:
    entry = registry.entry("optimizers", name)
    return known(entry.component, provider_of(entry))


def test_needs_are_found_and_a_class_that_works_plainly_is_plain(plugin: Path) -> None:
    registry, said = load_registry([plugin]), list[str]()
    find_out(FOUND, registry, said.append)
    assert {name: known_of(registry, name) for name in FOUND} == FOUND
    assert said == []


def test_what_is_given_is_not_looked_for(plugin: Path) -> None:
    registry = load_registry([plugin])
    assert known_of(registry, "given") == {}
    # a built-in and a class of torch have nothing to be found
    assert unknown_of(["sgd", "adamw", "given"], registry) == []


def test_a_class_that_hangs_dies_or_fails_costs_nothing_but_a_line(plugin: Path) -> None:
    registry, said = load_registry([plugin]), list[str]()
    find_out(["hangs", "asserts", "dies", "graph", "fails"], registry, said.append, limit=8.0)
    assert known_of(registry, "asserts") == {"closure": True}
    assert known_of(registry, "graph") == {"create_graph": True}
    assert [known_of(registry, name) for name in ("hangs", "dies", "fails")] == [None] * 3
    assert [line.partition(")")[0].partition("(")[2] for line in said] == [
        "it took longer than 8 s",
        "its process ended with 3",
        "ValueError: of no use",
    ]
    assert all("closure=" in line for line in said)


def test_what_was_found_is_kept_for_other_processes_until_the_class_changes(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_out(["asserts"], load_registry([plugin]), print)
    monkeypatch.setattr(conventions, "_known", {})
    assert known_of(load_registry([plugin]), "asserts") == {"closure": True}
    monkeypatch.setattr(conventions, "_known", {})
    plugin.write_text(CLASSES.replace("two gradients", "2 gradients"), encoding="utf-8")
    assert known_of(load_registry([plugin]), "asserts") is None


def test_a_strangers_file_is_not_trusted(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = load_registry([plugin])
    find_out(["plain"], registry, print)
    (kept,) = (tmp_path / "cache" / "thalweg" / "conventions").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"{}", b'{"closure":true}'))
    monkeypatch.setattr(conventions, "_known", {})
    assert known_of(registry, "plain") is None


@pytest.mark.parametrize("name", ["ascends", "graph", "othermodes"])
def test_the_conformance_kit_calls_a_class_as_trials_do(plugin: Path, name: str) -> None:
    mine = [check for check in checks(load_registry([plugin]), "classes") if check.name == name]
    assert len(mine) > 5
    for check in mine:
        # as with AdaHessian, weights that no gradient reaches have no second derivative
        if (name, "zero" in str(check)) != ("graph", True):
            check()


FILE = """
summary = "two classes on a small network"
seeds = 1
[workloads.bowl]
problem = {name = "quadratic", dim = 4}
architecture = "point"
budget = {steps = 20}
evaluate_every = {steps = 10}
[optimizers.plain]
[optimizers.asserts]
"""


def test_only_needs_are_hashed_and_shown_and_a_dry_run_says_what_it_does_not_know(
    cli: CommandLine, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cli.folder / "two.toml").write_text(FILE, encoding="utf-8")
    words = ["two.toml", "--plugin", str(plugin)]
    told = cli.json("show", "asserts", "--plugin", str(plugin))["conventions"]
    assert told[0] == {"convention": "closure", "value": None, "by": "first run"}
    before = cli.json("run", *words, "--dry-run")
    assert before["conventions_unknown"] == ["plain", "asserts"]
    report = cli.json("run", *words)
    after = cli.json("run", *words, "--dry-run")
    assert after["conventions_unknown"] == []
    hashes = [[row["hash"] for row in one["trials"]] for one in (before, after)]
    assert hashes[0][0] == hashes[1][0]
    assert hashes[0][1] != hashes[1][1]
    assert report["hashes"] == hashes[1]
    assert all(row["cached"] for row in after["trials"])
    told = cli.json("show", "asserts", "--plugin", str(plugin))["conventions"]
    assert told[0] == {"convention": "closure", "value": True, "by": "found"}
    # another machine that never ran the class finds the results
    monkeypatch.setenv("XDG_CACHE_HOME", str(cli.folder / "another cache"))
    monkeypatch.setattr(conventions, "_known", {})
    rows = cli.json("leaderboard", *words)["rows"]
    assert [row["seeds"] for row in rows] == [1, 1]


def test_workers_call_a_class_as_it_was_found(cli: CommandLine, plugin: Path) -> None:
    (cli.folder / "two.toml").write_text(FILE + "[optimizers.ascends]\n[optimizers.graph]\n", encoding="utf-8")
    report = cli.json("run", "two.toml", "--plugin", str(plugin), "-j", "2")
    assert report["trials"]["failed"] == 0
    serial = cli.json("run", "two.toml", "--plugin", str(plugin), "--results", "serial")
    assert report["hashes"] == serial["hashes"]
    comparison = cli.json("leaderboard", "two.toml", "--plugin", str(plugin))["rows"]
    others = cli.json("leaderboard", "two.toml", "--plugin", str(plugin), "--results", "serial")["rows"]
    assert [row["value"] for row in comparison] == [row["value"] for row in others]


def test_an_interrupt_before_the_process_starts_stays_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "classes.py").write_text(CLASSES, encoding="utf-8")
    registry = load_registry([tmp_path / "classes.py"])

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_out(["plain"], registry, print)
