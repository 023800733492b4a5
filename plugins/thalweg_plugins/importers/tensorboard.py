"""Reads event files of TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.keys import SPLITS
from thalweg.limits import ROWS

_SCALARS, _SETTINGS = "scalars", "hparams"
_START = 1
"""The status of a session that begins, in TensorBoard's event.proto."""


@dataclass
class Events:
    """What the event files of a folder hold."""

    scalars: list[tuple[int, str, float, float]] = field(default_factory=list)
    """Step, tag, value and wall time in seconds, in the order of writing."""
    parameters: dict[str, Any] = field(default_factory=dict)


class TensorBoard(thalweg.Importer):
    """A folder for each run; all of its event files count, in the order of their names.

    Values are float32. Every value is read; TensorBoard's own reader keeps 10,000 of a tag unless it is asked for
    more. A folder within the run's that is named by a split, as Keras and ``add_scalars`` write it, is part of the
    run. Values after the step of a resume with ``purge_step`` are taken back. ``add_hparams`` writes the settings into
    a folder of its own within the run's: they become parameters.
    """

    name = "tensorboard"
    summary = "event files of TensorBoard, of any program"
    source = "tensorboard 2.21, tensorboard.backend.event_processing"
    packages = ("tensorboard",)
    install = "thalweg[tensorboard]"

    def recognises(self, path: Path) -> bool:
        """Whether the file's name has ``.tfevents.``"""
        return ".tfevents." in path.name

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each folder."""
        for folder, events in runs_of(files).items():
            table = pd.DataFrame(events.scalars, columns=["step", "key", "value", "time"])
            for tag, steps in table.groupby("key", sort=False)["step"]:
                if len(steps) > 1 and steps.min() == steps.max():
                    told = f"{len(steps):,} values of {tag} are all at step {steps.iloc[0]:,}, and the last one counts"
                    context.note(f"TensorBoard: {told}; --format ignite places them by their time")
            yield ForeignRun(folder.name, folder, table.drop(columns="time"), events.parameters)


def runs_of(files: Sequence[Path]) -> dict[Path, Events]:
    """The events of each run's folder."""
    places: dict[Path, Events] = {}
    for path in sorted(files, key=_written):
        _read(path, places.setdefault(path.parent, Events()))
    folders: dict[Path, Events] = {}
    for place, events in places.items():
        folder, split = _run_of(place, places)
        whole = folders.setdefault(folder, Events())
        before = f"{split}/" if split else ""
        whole.scalars += [(step, before + tag, value, time) for step, tag, value, time in events.scalars]
        whole.parameters |= events.parameters
        ROWS.check(len(whole.scalars), str(folder))
    for folder, events in list(folders.items()):
        above = folders.get(folder.parent)
        if events.parameters and above is not None:
            above.parameters.update(events.parameters)
            del folders[folder]
    return {folder: events for folder, events in folders.items() if events.scalars}


def _written(path: Path) -> tuple[str, list[int]]:
    """Sorts files of a folder by time, process and number, which their names have as whole numbers."""
    return str(path.parent), [int(digits) for digits in re.findall(r"\d+", path.name)]


def _run_of(folder: Path, places: Collection[Path]) -> tuple[Path, str]:
    """The run's folder, and the split where a folder within it is named by one.

    Keras writes ``train`` and ``validation``, and ``add_scalars`` writes ``TAG_SPLIT`` beside the run's own file.
    """
    name = folder.name.lower()
    if name in SPLITS:
        return folder.parent, name
    last = name.rpartition("_")[2]
    return (folder.parent, last) if last in SPLITS and folder.parent in places else (folder, "")


def _read(path: Path, into: Events) -> None:
    """Add a file's events to those of its folder, which alone a resume takes back."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.util import tensor_util

    plugins: dict[str, str] = {}
    try:
        # the loader that gives events as they are: the other one turns each number into a tensor
        for event in LegacyEventFileLoader(str(path)).Load():
            if event.session_log.status == _START and event.step:
                # a training that was resumed at a step takes back what came after it
                into.scalars[:] = [one for one in into.scalars if one[0] < event.step]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    into.scalars.append((event.step, value.tag, value.simple_value, event.wall_time))
                    continue
                # the name of the plugin stands with the first value of a tag
                plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                if plugin == _SCALARS:
                    number = float(tensor_util.make_ndarray(value.tensor))
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
