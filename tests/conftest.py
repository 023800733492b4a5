"""Fixtures of many tests: the built-in registry, and the command line as a user runs it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from support import SMALL, CommandLine
from thalweg.registry import Registry, load_registry

pytest_plugins = ["pytester", "made_results"]

torch.set_num_threads(1)

# tests do not touch the caches and keys of the user who runs them
_own = tempfile.TemporaryDirectory(prefix="thalweg-tests-")
os.environ |= {"XDG_CACHE_HOME": f"{_own.name}/cache", "XDG_STATE_HOME": f"{_own.name}/state"}


@pytest.fixture(scope="session")
def registry() -> Registry:
    loaded = load_registry()
    assert [record.error for record in loaded.plugins if record.error] == []
    return loaded


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Restore the main module. AppTest replaces it by its script, and later spawned processes would run the script."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """The command line in this process."""
    return CommandLine(tmp_path, own_process=False)


@pytest.fixture
def process_cli(tmp_path: Path) -> CommandLine:
    """The command line, with a new process for each command."""
    return CommandLine(tmp_path, own_process=True)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A benchmark of eight trials that takes a second."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Run benchmarks only by ``pytest tests/benchmarks``."""
    asked = any("benchmarks" in str(argument) for argument in config.args)
    return True if collection_path.name == "benchmarks" and collection_path.is_dir() and not asked else None
