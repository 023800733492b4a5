"""thalweg: a plugin-based benchmark suite for the optimization of deep networks.

What a plugin author needs is here: the hook marker and the contracts. Importing this package does not import torch.
"""

import pluggy

from thalweg.contracts import (
    Architecture,
    Claim,
    Column,
    Decision,
    Executor,
    Experiment,
    ForeignRun,
    Hyperparameter,
    ImportContext,
    Importer,
    LoadedProblem,
    Measurements,
    Metric,
    Optimizer,
    Option,
    Part,
    Probe,
    Problem,
    Search,
    Shape,
    Stepper,
    StepReport,
)

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("thalweg")
"""Marks a function of a plugin as the implementation of a thalweg hook."""

__all__ = [
    "Architecture",
    "Claim",
    "Column",
    "Decision",
    "Executor",
    "Experiment",
    "ForeignRun",
    "Hyperparameter",
    "ImportContext",
    "Importer",
    "LoadedProblem",
    "Measurements",
    "Metric",
    "Optimizer",
    "Option",
    "Part",
    "Probe",
    "Problem",
    "Search",
    "Shape",
    "StepReport",
    "Stepper",
    "__version__",
    "hookimpl",
]
