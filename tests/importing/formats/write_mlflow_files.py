"""MLflow's file store: a folder mlruns with a folder for each run."""

from __future__ import annotations

import os

import mlflow
from logged import output
from write_mlflow import log

if __name__ == "__main__":
    output()
    # without this MLflow 3.17 refuses to write to folders
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    mlflow.set_tracking_uri("file:mlruns")
    log()
