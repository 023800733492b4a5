"""The importers: one module for each format."""

from __future__ import annotations

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.importers.benchopt import Benchopt
from thalweg_plugins.importers.deepobs import DeepOBS
from thalweg_plugins.importers.dvclive import DVCLive
from thalweg_plugins.importers.fastai import Fastai
from thalweg_plugins.importers.huggingface import HuggingFace
from thalweg_plugins.importers.ignite import Ignite
from thalweg_plugins.importers.keras import Keras
from thalweg_plugins.importers.lightning import Lightning
from thalweg_plugins.importers.mlflow import MLflow
from thalweg_plugins.importers.nanogpt import NanoGPT
from thalweg_plugins.importers.optuna import Optuna
from thalweg_plugins.importers.ray import Ray
from thalweg_plugins.importers.sacred import Sacred
from thalweg_plugins.importers.skorch import Skorch
from thalweg_plugins.importers.tables import Tables
from thalweg_plugins.importers.tensorboard import TensorBoard
from thalweg_plugins.importers.timm import Timm
from thalweg_plugins.importers.wandb import WandB

_SPECIAL = (
    Lightning,
    Keras,
    TensorBoard,
    MLflow,
    HuggingFace,
    Optuna,
    Ray,
    WandB,
    DVCLive,
    Sacred,
    Skorch,
    Ignite,
    Fastai,
    Timm,
    NanoGPT,
    Benchopt,
    DeepOBS,
)


@hookimpl
def thalweg_register_importers(register: Register) -> None:
    """Register the importers; a general one comes last."""
    for importer in (*_SPECIAL, Tables):
        register(importer)
