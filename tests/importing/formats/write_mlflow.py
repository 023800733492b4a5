"""MLflow's default store: one sqlite file, mlflow.db, for all runs."""

from __future__ import annotations

import mlflow
from logged import output, runs


def log() -> None:
    """The ten runs, in the store that is set."""
    mlflow.set_experiment("digits")
    for run in runs():
        with mlflow.start_run(run_name=run.name):
            mlflow.log_params(run.hyperparameters)
            for step, loss, accuracy in run.rows():
                mlflow.log_metric("train_loss", loss, step=step)
                mlflow.log_metric("val_accuracy", accuracy, step=step)


if __name__ == "__main__":
    output()
    log()
