"""TensorBoard's event files, written by torch's SummaryWriter."""

from __future__ import annotations

from logged import output, runs
from torch.utils.tensorboard import SummaryWriter


def main() -> None:
    folder = output()
    for run in runs():
        with SummaryWriter(folder / run.name) as writer:
            for step, loss, accuracy in run.rows():
                writer.add_scalar("Loss/train", loss, step)
                writer.add_scalar("Accuracy/valid", accuracy, step)
            writer.add_hparams(run.hyperparameters, {"hparam/accuracy": run.accuracy[-1]})


if __name__ == "__main__":
    main()
