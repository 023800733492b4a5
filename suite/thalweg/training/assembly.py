"""Puts a trial's parts together: the problem's data, a seeded module, its stepper and the objective between them."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from thalweg.contracts import BuildContext, Draw, LoadContext, LoadedProblem, Optimizer, Probe, Stepper
from thalweg.contracts.costs import Costs
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.precision import move
from thalweg.contracts.problem import Split
from thalweg.contracts.untouched import DataChangedError, Untouched, blame, tensors_in
from thalweg.data.digest import sha256
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.training.costs import costs_of
from thalweg.training.recipe import decayed
from thalweg.trial import ProbeRequest, Trial


@dataclass
class Assembly:
    """Everything that a trial trains with."""

    trial: Trial
    problem: LoadedProblem
    module: nn.Module
    stepper: Stepper
    objective: Objective
    draw: Draw
    optimizer: Optimizer
    hyperparameters: Mapping[str, Any]
    data: Untouched
    """The problem's stored tensors as they were loaded."""
    registry: Registry
    """Where the trial's components are."""

    @property
    def batch_size(self) -> int | None:
        """Examples in a batch; None where it is the whole training split."""
        size = self.draw.batch_size
        return None if size is None or size >= self.problem.sizes["train"] else size

    @functools.cached_property
    def costs(self) -> Costs:
        """What evaluations of one example cost: counted once in a process for all trials of a network and a problem."""
        ref, architecture = self.trial.problem, self.trial.architecture
        key = str(ref), str(architecture), type(self.problem), *map(type, self.module.modules())
        if key not in _costs:
            _costs[key] = costs_of(self.module, self.problem)
        return _costs[key]

    def context(self, seed: int) -> BuildContext:
        """The context in which a stepper of this trial is built."""
        return _context(self.trial, self.problem, self.draw, seed)

    def check_data(self, thoroughly: bool = False) -> None:
        """Raise DataChangedError where something wrote into the problem's data; ``thoroughly`` reads all of it."""
        if self.data.changed if thoroughly else self.data.written:
            raise DataChangedError(blame(self.module, self.problem.batch("train", 0, Draw(0, 2)).inputs))

    def check_finite(self, split: Split, loss: float) -> None:
        """Raise ValueError where a loss is not finite because the split's data holds values that are not finite.

        A metric such as the accuracy would count such an example like any other example.
        """
        if math.isfinite(loss):
            return
        data = getattr(self.problem, "data", None)
        tensors = list(tensors_in(data[split])) if isinstance(data, Mapping) and split in data else []
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise ValueError(
                f"problem {self.trial.problem.name!r}: the {split} split holds values that are not finite: its loss "
                f"is {loss:g}: leave those examples out, or let the network fill them in"
            )


_costs: dict[tuple[Any, ...], Costs] = {}
"""The costs by what the trial's components are: in a notebook, a name may stand for another class the next time."""

_loaded: dict[str, tuple[LoadedProblem, Untouched]] = {}
"""The problem loaded last, so that the trials of a workload share its data. Trials train on copies: see ``_own``."""


def load_problem(trial: Trial, registry: Registry) -> LoadedProblem:
    """Load the trial's data onto its device; the last one loaded is kept, unless something wrote into it."""
    return _load(trial, registry)[0]


def _own(problem: LoadedProblem) -> LoadedProblem | None:
    """A copy of a problem that shares the stored tensors alone, so that what a loss remembers reaches no other trial.

    None where the problem cannot be copied.
    """
    shared: dict[int, Any] = {id(tensor): tensor for tensor in tensors_in(vars(problem))}
    try:
        return copy.deepcopy(problem, shared)
    except Exception:  # the problem may hold a file or a lock
        return None


def _load(trial: Trial, registry: Registry, checked: bool = False) -> tuple[LoadedProblem, Untouched]:
    """The trial's problem, and a record of its stored tensors."""
    key = f"{trial.problem}/{trial.device}/{trial.dtype}/{trial.validation_fraction}"
    if key in _loaded:
        kept, data = _loaded[key]
        if not (data.written if checked else data.changed) and (own := _own(kept)) is not None:
            return own, data
    problem = registry.problem(trial.problem.name)
    context = LoadContext(torch.device(trial.device), getattr(torch, trial.dtype), trial.validation_fraction)
    options = resolve(problem.options, trial.problem.settings, problem.name)
    loaded = problem.load(options, context)
    for name, path in trial.problem.files.items():
        # the trial's hash names the content of the file, and somebody may write to the file during a run
        if trial.problem.options[name] != f"sha256:{sha256(Path(path))}":
            raise UserError(f"{path} has changed since the run began: run again")
    _loaded.clear()
    data = Untouched(loaded)
    own = _own(loaded)
    if own is None:  # the next trial loads the problem again
        return loaded, data
    _loaded[key] = loaded, data
    return own, data


def build_module(trial: Trial, registry: Registry, problem: LoadedProblem, draw: Draw) -> nn.Module:
    """The module at its start: initialised from the trial's seed, whatever the optimizer."""
    architecture = registry.architecture(trial.architecture.name)
    description = registry.problem(trial.problem.name)
    shape = description.shape(resolve(description.options, trial.problem.settings, description.name))
    options = resolve(architecture.options, trial.architecture.settings, architecture.name)
    with torch.random.fork_rng():
        torch.manual_seed(draw.seed_for("init"))
        module = architecture.build(options, shape)
    unknown = [name for name, parameter in module.named_parameters() if is_lazy(parameter)]
    if unknown:
        raise TypeError(
            f"architecture {architecture.name!r}: {unknown[0]} has no shape yet: give lazy layers their sizes, or call "
            "the module in build once on torch.zeros(2, *shape.input)"
        )
    move(module, torch.device(trial.device), getattr(torch, trial.dtype))
    problem.initialize(module, draw)
    return module


def _context(trial: Trial, problem: LoadedProblem, draw: Draw, seed: int) -> BuildContext:
    examples = problem.sizes["train"]
    batch_size = min(draw.batch_size or examples, examples)
    steps = trial.budget.total_steps(problem.steps_per_epoch(draw.batch_size))
    return BuildContext(seed, examples, batch_size, steps, trial.optimizer.found)


def assemble(trial: Trial, registry: Registry, checked: bool = False) -> Assembly:
    """Load, build and connect the parts of a trial. Equal trials get equal parts.

    Args:
        trial: the trial.
        registry: where its components are.
        checked: whether the data's bits were checked a moment ago, for another trial on the same data.
    """
    problem, data = _load(trial, registry, checked)
    draw = Draw(trial.seed, None if trial.batch_size == "full" else trial.batch_size)
    module = build_module(trial, registry, problem, draw)
    optimizer = registry.optimizer(trial.optimizer.name)
    hyperparameters = resolve(optimizer.options, trial.optimizer.settings, optimizer.name)
    context = _context(trial, problem, draw, draw.seed_for("optimizer"))
    stepper = optimizer.build(module, hyperparameters, context)
    if not isinstance(stepper, Stepper):
        raise TypeError(f"optimizer {optimizer.name!r} built {type(stepper).__name__} and no thalweg.Stepper")
    architecture = registry.architecture(trial.architecture.name)
    draws_in_forward = architecture.draws_in_forward(
        resolve(architecture.options, trial.architecture.settings, architecture.name)
    )
    objective = Objective(
        module,
        problem,
        draw,
        draws_in_forward,
        l2=trial.coupled_weight_decay,
        clip_norm=trial.clip_norm,
        mixed=trial.precision == "mixed-bfloat16",
        penalized=decayed((p for p in module.parameters() if p.requires_grad), trial.weight_decay_on),
    )
    return Assembly(trial, problem, module, stepper, objective, draw, optimizer, hyperparameters, data, registry)


@dataclass
class ActiveProbe:
    """A probe wanted on a trial, with its options resolved."""

    request: ProbeRequest
    probe: Probe
    options: dict[str, Any]


def active_probes(requests: tuple[ProbeRequest, ...], registry: Registry) -> list[ActiveProbe]:
    """Look the requested probes up."""
    active = []
    for request in requests:
        probe = registry.probe(request.probe.name)
        active.append(ActiveProbe(request, probe, resolve(probe.options, request.probe.settings, probe.name)))
    return active
