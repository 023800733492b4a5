"""Sacred's FileStorageObserver: a numbered folder for each run, with config.json, run.json and metrics.json."""

from __future__ import annotations

from logged import RATES, output, runs
from sacred import Experiment
from sacred.observers import FileStorageObserver

CURVES = {(run.optimizer, run.seed): run for run in runs()}


def train(_run: object, optimizer: str, seed: int, lr: float) -> float:
    """Logs the curve of an optimizer and a seed."""
    for step, loss, accuracy in CURVES[optimizer, seed].rows():
        _run.log_scalar("train.loss", loss, step)
        _run.log_scalar("valid.accuracy", accuracy, step)
    return accuracy


def main() -> None:
    folder = output()
    experiment = Experiment("digits", base_dir=str(folder), save_git_info=False)
    experiment.add_config(optimizer="sgd", lr=RATES["sgd"])
    experiment.main(train)
    experiment.observers.append(FileStorageObserver(folder / "runs"))
    for run in CURVES.values():
        experiment.run(config_updates=run.hyperparameters)


if __name__ == "__main__":
    main()
