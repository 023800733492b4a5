"""Each class that is installed: its hyperparameters are those of the table, and it makes steps."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from thalweg.registry import Registry, load_registry
from thalweg.testing.small import Workbench
from thalweg.training.contained import contained
from thalweg.training.randomness import seeded
from thalweg_optimizers.foreign import Foreign
from thalweg_optimizers.sources import Entry, missing, sources

INSTALLED = [entry for source in sources() if not missing(source) for entry in source.entries if not entry.left_out]
TOOL = Path(__file__).parents[1] / "tools" / "signatures.py"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def options_of(entry: Entry) -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("signatures", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options: list[dict[str, Any]] = module.options_of(Foreign(entry).wrapped)
    return options


@pytest.mark.parametrize("entry", INSTALLED, ids=lambda entry: entry.name)
def test_the_table_is_the_class(entry: Entry) -> None:
    assert options_of(entry) == entry.signature["options"]


@pytest.mark.parametrize("entry", INSTALLED, ids=lambda entry: entry.name)
def test_a_class_makes_steps(entry: Entry, registry: Registry) -> None:
    with contained(threads=1), seeded(0):
        bench = Workbench(registry, entry.name)
        before = torch.cat([p.detach().flatten().clone() for p in bench.module.parameters()])
        bench.steps(0, 12)
        after = torch.cat([p.detach().flatten() for p in bench.module.parameters()])
    assert not torch.equal(before, after)
    assert math.isfinite(float(after.sum())) or "explodes" in entry.note
