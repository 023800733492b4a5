"""Times of imports, against reading the same files with the library that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from thalweg.contracts import ImportContext
from thalweg.registry import load_registry
from timing import ratio

RUNS, STEPS = 10, 2000


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("events")
    for run in range(RUNS):
        with SummaryWriter(str(folder / str(run))) as writer:
            for step in range(STEPS):
                writer.add_scalar("Loss/train", 1 / (step + 1), step)
    return sorted(folder.rglob("*.tfevents.*"))


@pytest.mark.benchmark(group="imports against the library that wrote the files")
def test_event_files_against_tensorboards_own_reader(benchmark: Any, events: list[Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    importer: Any = load_registry().entry("importers", "tensorboard").component

    def ours() -> int:
        return sum(len(run.rows) for run in importer.read(events, ImportContext()))

    def theirs() -> int:
        number = 0
        for file in events:
            read = EventAccumulator(str(file.parent), size_guidance={"scalars": 0})
            read.Reload()
            number += len(read.Scalars("Loss/train"))
        return number

    assert ours() == theirs() == RUNS * STEPS
    benchmark.extra_info["ratio"] = ratio(ours, theirs, 7)
    benchmark.pedantic(ours, rounds=1)
