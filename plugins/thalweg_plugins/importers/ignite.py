"""Reads event files of TensorBoard that an evaluator of Ignite wrote at its own steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.foreign.rows import Rows
from thalweg_plugins.importers.tensorboard import Events, TensorBoard, runs_of


class Ignite(TensorBoard):
    """Event files whose evaluations are all at one step.

    An evaluator of Ignite counts its own iterations and epochs, so its logger writes every evaluation at step 1, unless
    the user gave ``global_step_transform``. Such values are placed by their time: at the last step of the training
    that was written before. Since the files are TensorBoard's, the user has to name this format.
    """

    name = "ignite"
    summary = "TensorBoard's event files of Ignite, whose evaluations are all at step 1"
    source = "pytorch-ignite 0.5, ignite.handlers.tensorboard_logger.TensorboardLogger"

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each folder."""
        for folder, events in runs_of(files).items():
            yield ForeignRun(folder.name, folder, _placed(folder, events, context).table(), events.parameters)


def _placed(folder: Path, events: Events, context: ImportContext) -> Rows:
    steps: dict[str, list[int]] = defaultdict(list)
    for step, tag, _, _ in events.scalars:
        steps[tag].append(step)
    stuck = {tag for tag, found in steps.items() if len(set(found)) == 1 and len(found) > 1}
    rows, last = Rows(str(folder)), 0
    for step, tag, value, _ in sorted(events.scalars, key=lambda one: one[3]):
        if tag in stuck:
            rows.add(last, tag, value)
        else:
            last = max(last, step)
            rows.add(step, tag, value)
    for tag in sorted(stuck):
        context.note(f"Ignite: values of {tag}, all at one step, are placed at the training's last step before them")
    return rows
