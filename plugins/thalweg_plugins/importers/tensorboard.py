"""Reads event files of TensorBoard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.rows import Rows

_SCALARS, _SETTINGS = "scalars", "hparams"


@dataclass
class Events:
    """What the event files of a folder hold."""

    scalars: list[tuple[int, str, float, float]] = field(default_factory=list)
    """Step, tag, value and wall time in seconds, in the order of writing."""
    parameters: dict[str, Any] = field(default_factory=dict)


class TensorBoard(thalweg.Importer):
    """A folder for each run; all of its event files count, in the order of their names.

    Values are float32. Every value is read; TensorBoard's own reader keeps 10,000 of a tag unless it is asked for
    more. ``add_hparams`` writes the settings into a folder of its own within the run's: they become parameters.
    """

    name = "tensorboard"
    summary = "event files of TensorBoard, of any program"
    source = "tensorboard 2.21, tensorboard.backend.event_processing.event_file_loader"
    packages = ("tensorboard",)
    install = "thalweg[tensorboard]"

    def recognises(self, path: Path) -> bool:
        """Whether the file's name has ``.tfevents.``"""
        return ".tfevents." in path.name

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each folder."""
        for folder, events in runs_of(files).items():
            rows = Rows(str(folder))
            once: dict[str, set[int]] = defaultdict(set)
            count: dict[str, int] = defaultdict(int)
            for step, tag, value, _ in events.scalars:
                rows.add(step, tag, value)
                once[tag].add(step)
                count[tag] += 1
            for tag, steps in once.items():
                if len(steps) == 1 and count[tag] > 1:
                    told = f"{count[tag]:,} values of {tag} are all at step {min(steps):,}, and the last one counts"
                    context.note(f"TensorBoard: {told}; --format ignite places them by their time")
            yield ForeignRun(folder.name, folder, rows.table(), events.parameters)


def runs_of(files: Sequence[Path]) -> dict[Path, Events]:
    """The events of each run's folder."""
    folders: dict[Path, Events] = {}
    for path in files:
        _read(path, folders.setdefault(path.parent, Events()))
    for folder, events in list(folders.items()):
        above = folders.get(folder.parent)
        if events.parameters and above is not None:
            above.parameters.update(events.parameters)
            del folders[folder]
    return {folder: events for folder, events in folders.items() if events.scalars}


def _read(path: Path, into: Events) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    plugins: dict[str, str] = {}
    try:
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                if plugin == _SCALARS:
                    numbers = value.tensor.float_val
                    number = numbers[0] if len(numbers) == 1 else float(tensor_util.make_ndarray(value.tensor))
                    into.scalars.append((event.step, value.tag, number, event.wall_time))
                elif plugin == _SETTINGS:
                    into.parameters.update(_settings(value.metadata.plugin_data.content))
    except Exception as error:  # tensorboard raises errors of many kinds for damaged files
        raise UserError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


def _settings(content: bytes) -> dict[str, Any]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = HParamsPluginData.FromString(content).session_start_info.hparams
    values = {name: getattr(value, str(value.WhichOneof("kind"))) for name, value in found.items()}
    return {
        name: int(value) if isinstance(value, float) and value == value and value.is_integer() else value
        for name, value in values.items()
    }
