"""The classes that a plugin author subclasses or returns. The import of this package does not import torch."""

from thalweg.contracts.architecture import Architecture, Shape
from thalweg.contracts.claim import Claim, ClaimContext, Decision, Experiment, MeasuredTrial, Measurements, Part
from thalweg.contracts.component import Component
from thalweg.contracts.executor import Executor
from thalweg.contracts.importer import ForeignRun, ImportContext, Importer
from thalweg.contracts.optimizer import (
    BuildContext,
    Optimizer,
    StackedReport,
    StackedStepper,
    Stepper,
    StepReport,
)
from thalweg.contracts.option import Hyperparameter, Option, Search
from thalweg.contracts.probe import Column, Probe
from thalweg.contracts.problem import Batch, Draw, LoadContext, LoadedProblem, Metric, Problem

__all__ = [
    "Architecture",
    "Batch",
    "BuildContext",
    "Claim",
    "ClaimContext",
    "Column",
    "Component",
    "Decision",
    "Draw",
    "Executor",
    "Experiment",
    "ForeignRun",
    "Hyperparameter",
    "ImportContext",
    "Importer",
    "LoadContext",
    "LoadedProblem",
    "MeasuredTrial",
    "Measurements",
    "Metric",
    "Optimizer",
    "Option",
    "Part",
    "Probe",
    "Problem",
    "Search",
    "Shape",
    "StackedReport",
    "StackedStepper",
    "StepReport",
    "Stepper",
]
