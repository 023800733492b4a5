"""One class of another package as an optimizer of thalweg, imported where it is built and not before."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Stepper
from thalweg.contracts import BuildContext
from thalweg.errors import UserError
from thalweg_optimizers.sources import Entry

if TYPE_CHECKING:
    from torch import nn

    from thalweg.contracts.torch_adapter import TorchOptimizer


_BATCHES = "num_batches_per_epoch"
"""The argument that goes with one that counts epochs."""


class Foreign(Optimizer):
    """A class with the hyperparameters and conventions of its table.

    ``thalweg list`` and ``thalweg leaderboard`` import neither torch nor the class: all that they need is in the table.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        signature = entry.signature
        self.name = entry.name
        self.summary = signature["summary"]
        self.source = entry.source or f"the package {entry.package} {entry.version}; its table names no paper"
        self.has_lr = signature["has_lr"]
        self.revision = signature["revision"]
        told = (entry.steps, *((entry.epochs, _BATCHES) if entry.epochs else ()))
        self.options = tuple(_option(one) for one in signature["options"] if one["name"] not in told)
        self.conventions = signature["conventions"]
        self.package = f"{entry.package} {entry.version}"
        self.implementation = f"{entry.package} {entry.version}, {entry.path.replace(':', '.')}"

    @property
    def description(self) -> str:
        """What else one must know."""
        told = [self.entry.note] if self.entry.note else []
        if self.entry.eager:
            told.append("torch's compiler is off: it would take longer than a training")
        if self.entry.steps or self.entry.epochs:
            told.append("it knows the length of the training")
        return "; ".join(told)

    @cached_property
    def wrapped(self) -> TorchOptimizer:
        """The class, imported, with the settings of its table."""
        return wrap(self.entry, self.entry.signature["conventions"])

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper of the class."""
        hyperparameters = dict(hyperparameters)
        if (self.entry.steps or self.entry.epochs) and context.steps is None:
            raise UserError(f"{self.name} needs a budget in steps or epochs")
        if self.entry.steps:
            hyperparameters[self.entry.steps] = context.steps
        if self.entry.epochs and context.steps is not None:
            an_epoch = max(1, context.examples // context.batch_size)
            hyperparameters[self.entry.epochs] = math.ceil(context.steps / an_epoch)
            hyperparameters[_BATCHES] = an_epoch
        if not self.entry.eager:
            return self.wrapped.build(module, hyperparameters, context)
        from thalweg_optimizers.eager import Eager, eagerly

        with eagerly():
            return Eager.of(self.wrapped.build(module, hyperparameters, context))


def wrap(entry: Entry, conventions: Mapping[str, Any]) -> TorchOptimizer:
    """The class of an entry as thalweg's ``register`` takes it.

    Args:
        entry: the entry.
        conventions: closure, create_graph and modes; those that are missing are found out.
    """
    from thalweg.contracts.torch_adapter import TorchOptimizer
    from thalweg_optimizers.groups import GROUPS

    settings = {key: None if value == "none" else value for key, value in entry.settings.items()}
    settings |= {key: load(path) for key, path in entry.objects.items()}
    if entry.groups:
        settings["groups"] = GROUPS[entry.groups]
    cls = load(entry.path)
    if entry.of:
        cls = cls(load(entry.of))
    told = {key: value for key, value in conventions.items() if key != "groups"}
    return TorchOptimizer(cls, name=entry.name, search=dict(entry.search), **told, **settings)


def load(path: str) -> Any:
    """A class by its module and name."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _option(table: Mapping[str, Any]) -> Hyperparameter:
    search = Search(*table["search"]) if table["search"] else None
    default = float(table["default"]) if isinstance(table["default"], str) and table["number"] else table["default"]
    allowed = tuple(table["allowed"]) if isinstance(table["allowed"], list) else table["allowed"]
    return Hyperparameter(table["name"], default, allowed=allowed, search=search, real=table["real"])
