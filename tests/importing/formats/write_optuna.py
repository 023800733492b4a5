"""Optuna's sqlite storage: one study with a trial for each run, which reports its validation accuracy."""

from __future__ import annotations

import optuna
from logged import RATES, output, runs

CURVES = {(run.optimizer, run.seed): run for run in runs()}


def objective(trial: optuna.Trial) -> float:
    """The last accuracy; nan, with which a trial fails, where the training loss is nan."""
    optimizer = trial.suggest_categorical("optimizer", list(RATES))
    seed = trial.suggest_int("seed", 0, 4)
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    run = CURVES[optimizer, seed]
    for step, loss, accuracy in run.rows():
        trial.report(accuracy if loss == loss else float("nan"), step)
    return accuracy if loss == loss else float("nan")


if __name__ == "__main__":
    output()
    study = optuna.create_study(study_name="digits", storage="sqlite:///digits.db", direction="maximize")
    for run in CURVES.values():
        study.enqueue_trial(run.hyperparameters)
    study.optimize(objective, n_trials=len(CURVES))
