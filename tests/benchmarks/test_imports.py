"""Times of imports, against reading the same files with the library that wrote them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from thalweg.contracts import ImportContext
from thalweg.registry import load_registry

RUNS, STEPS = 10, 2000


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("events")
    for run in range(RUNS):
        with SummaryWriter(str(folder / str(run))) as writer:
            for step in range(STEPS):
                writer.add_scalar("Loss/train", 1 / (step + 1), step)
    return sorted(folder.rglob("*.tfevents.*"))


def by_thalweg(files: list[Path]) -> int:
    importer: Any = load_registry().entry("importers", "tensorboard").component
    return sum(len(run.rows) for run in importer.read(files, ImportContext()))


def by_tensorboard(files: list[Path]) -> int:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    number = 0
    for file in files:
        read = EventAccumulator(str(file.parent), size_guidance={"scalars": 0})
        read.Reload()
        number += len(read.Scalars("Loss/train"))
    return number


@pytest.mark.parametrize("reads", [by_thalweg, by_tensorboard], ids=["thalweg", "tensorboard"])
@pytest.mark.benchmark(group="reading ten runs of 2000 steps from event files")
def test_event_files(benchmark: Any, events: list[Path], reads: Callable[[list[Path]], int]) -> None:
    assert benchmark(reads, events) == RUNS * STEPS
