"""Writes trials' metrics for TensorBoard into the folder that ``THALWEG_TENSORBOARD`` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg import hookimpl
from thalweg.errors import UserError

if TYPE_CHECKING:
    from thalweg.outcome import TrialResult
    from thalweg.trial import Trial

VARIABLE = "THALWEG_TENSORBOARD"


@hookimpl
def thalweg_trial_finished(trial: Trial, result: TrialResult) -> None:
    """Writes each trial as one run of TensorBoard: its curve by steps, its hyperparameters and how the trial ended.

    A run's name has the trial's seed and hash, since one optimizer may have several settings at one seed.
    """
    folder, saved = os.environ.get(VARIABLE), result.saved
    if not folder or saved is None:
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        hint = "pip install 'thalweg[tensorboard]'"
        raise UserError(f"{VARIABLE} is set, but tensorboard is not installed: {hint}") from error
    document = saved.document
    place = (
        Path(folder) / result.benchmark / document.workload / document.optimizer / f"seed-{trial.seed}--{trial.hash}"
    )
    for older in place.glob("events.out.tfevents.*"):
        older.unlink()  # this trial was trained before
    with SummaryWriter(str(place)) as writer:
        for row in saved.curve().itertuples():
            writer.add_scalar(f"{row.metric}/{row.split}", row.value, row.step)
        writer.add_text("status", f"{result.status} {result.reason}".strip())
        final = result.summary.get("final", {})
        numbers = {f"final {metric}/{split}": value for split in final for metric, value in final[split].items()}
        settings = document.options["optimizer"] | {"optimizer": document.optimizer, "seed": trial.seed}
        words = {
            name: value if isinstance(value, int | float | bool) else str(value) for name, value in settings.items()
        }
        writer.add_hparams(words, numbers, run_name=".")
