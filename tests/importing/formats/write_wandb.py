"""Weights & Biases' offline runs: one .wandb file for each run."""

from __future__ import annotations

import wandb
from logged import output, runs


def main() -> None:
    folder = output()
    # without the name of the machine, its folders and its packages, which no reader needs
    settings = wandb.Settings(
        console="off", disable_code=True, disable_git=True, host="host", silent=True, x_disable_meta=True
    )
    for run in runs():
        (folder / run.name).mkdir()
        config, where = run.hyperparameters, str(folder / run.name)
        with wandb.init(
            mode="offline", project="digits", name=run.name, config=config, dir=where, settings=settings
        ) as logged:
            for step, loss, accuracy in run.rows():
                logged.log({"train/loss": loss, "val/accuracy": accuracy}, step=step)


if __name__ == "__main__":
    main()
