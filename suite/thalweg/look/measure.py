"""Measures a probe on a network, loss and data that belong to somebody else, and touches none of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from thalweg.contracts import Draw, Probe
from thalweg.contracts.copies import copied, state_of
from thalweg.contracts.modes import set_evaluating
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import ProbeContext, SavedWeights
from thalweg.contracts.problem import LoadedProblem
from thalweg.errors import UserError, unknown
from thalweg.landscape.points import flat_from
from thalweg.limits import POINTS, PROBE_BYTES
from thalweg.look.bar import shown
from thalweg.look.data import problem_of
from thalweg.look.result import Look
from thalweg.registry import load_registry
from thalweg.training.contained import contained
from thalweg.training.randomness import seeded
from thalweg.training.tables import checked, joined

Parameters = Sequence[str] | Callable[[str, nn.Parameter], bool]
"""Names of parameters (or of modules that hold them), or a function of name and parameter."""

Mode = Literal["train", "eval"]

State = Mapping[str, Any]
"""A state dict."""


_WITHOUT_START = ("surface", "directions")
"""Probes that trials ask for the weights of the start, and that have answers without them."""


@contextmanager
def on_own_terms(seed: int) -> Iterator[None]:
    """While active, torch's switches and generators may change; then everything is as it was."""
    with ExitStack() as stack:
        stack.enter_context(contained())
        stack.enter_context(seeded(seed))
        # the caller may be within autocast, whose cache of weights makes all points of a surface equal
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


@functools.cache
def probe_of(name: str) -> Probe:
    """The probe of a name. To load all plugins takes as long as a small surface, so that a process does it once a name.

    Raises:
        UserError: there is no such probe.
    """
    return load_registry().probe(name)


def own_copy(module: nn.Module, parameters: Parameters | None) -> nn.Module:
    """A copy of a module whose chosen parameters alone can move.

    Raises:
        UserError: the module cannot be copied, has uninitialized parameters, or none of its parameters is chosen.
    """
    if not isinstance(module, nn.Module):
        raise UserError(f"module: {type(module).__name__} is no torch.nn.Module")
    try:
        made = copied(module)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise UserError(
            f"module: {type(module).__name__} cannot be copied, so it cannot be looked at ({said})"
        ) from error
    for name, parameter in made.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise UserError(f"module: {name} has no shape yet: call the module once")
        parameter.grad = None
    if parameters is not None:
        _choose(made, parameters)
    if not any(parameter.requires_grad for parameter in made.parameters()):
        raise UserError("module: no parameter requires a gradient: parameters= names those to look along")
    return made


def _choose(module: nn.Module, parameters: Parameters) -> None:
    """Let the chosen parameters alone require gradients. A tied weight is chosen by any of its names."""
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    if isinstance(parameters, str):
        parameters = [parameters]
    if callable(parameters):
        chosen = {id(one) for name, one in module.named_parameters(remove_duplicate=False) if parameters(name, one)}
    else:
        for wanted in parameters:
            if not any(name == wanted or name.startswith(f"{wanted}.") for name in names):
                raise UserError(f"parameters: {unknown('parameter or module', wanted, names)}")
        chosen = {
            id(one)
            for name, one in module.named_parameters(remove_duplicate=False)
            if any(name == wanted or name.startswith(f"{wanted}.") for wanted in parameters)
        }
    for one in module.parameters():
        one.requires_grad_(id(one) in chosen)


def look(
    probe: str | Probe,
    module: nn.Module,
    loss: Any = None,
    data: Any = None,
    *,
    forward: Callable[..., Any] | None = None,
    parameters: Parameters | None = None,
    initial: State | None = None,
    path: Sequence[State] = (),
    other: State | None = None,
    mode: Mode = "train",
    seed: int = 0,
    progress: bool | Callable[[int, int], None] = True,
    **options: Any,
) -> Look:
    """Measure a probe; see ``thalweg.look`` for the arguments."""
    probe = probe_of(probe) if isinstance(probe, str) else probe
    resolved = options_of(probe, options)
    if mode not in ("train", "eval"):
        raise UserError(f"mode: {mode!r} is neither 'train' nor 'eval'")
    with on_own_terms(seed):
        own = own_copy(module, parameters)
        PROBE_BYTES.check(
            probe.vectors(resolved) * sum(one.numel() * one.element_size() for one in own.parameters()), probe.name
        )
        set_evaluating(own)
        problem = told_problem(own, loss, data, forward)
        for name, state in (("initial", initial), ("other", other), *(("path", state) for state in path)):
            if state is not None:
                check_state(own, state, name)
        own.train(mode == "train")
        with shown(probe.name, progress) as told:
            table = _measured(probe, resolved, own, problem, initial, path, other, seed, told)
        set_evaluating(own)
        at = problem.evaluate(own, "train")["loss"]
    settings = {
        "module": type(module).__name__,
        "parameters": sum(one.numel() for one in own.parameters() if one.requires_grad),
        "examples": problem.sizes["train"],
        "loss": at,
        "mode": mode,
        "seed": seed,
        "options": resolved,
    }
    return Look(probe, table, settings)


def told_problem(module: nn.Module, loss: Any, data: Any, forward: Callable[..., Any] | None) -> LoadedProblem:
    """The problem of loss and data; UserError where they do not go together."""
    try:
        return problem_of(module, loss, data, forward)
    except ValueError as error:
        raise UserError(str(error)) from error


def check_state(module: nn.Module, state: Any, name: str) -> None:
    """UserError where a state dict is not one of the module: other names, or other shapes."""
    if not isinstance(state, Mapping):
        raise UserError(f"{name}: give a state dict, as module.state_dict() gives it, and no {type(state).__name__}")
    for key, value in module.state_dict().items():
        if key not in state:
            raise UserError(f"{name}: the state dict lacks {key}; {unknown('weight', key, map(str, state))}")
        there = state[key]
        if isinstance(value, Tensor) and (not isinstance(there, Tensor) or there.shape != value.shape):
            shape = tuple(there.shape) if isinstance(there, Tensor) else type(there).__name__
            raise UserError(f"{name}: {key} has the shape {shape}, and the module's {tuple(value.shape)}")


def options_of(probe: Probe, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a probe; UserError where one is refused."""
    resolved = resolve(probe.options, given, probe.name)
    if reason := probe.misfit(resolved):
        raise UserError(f"{probe.name}: {reason}")
    POINTS.check(probe.points(resolved), probe.name)
    return resolved


def _measured(
    probe: Probe,
    options: Mapping[str, Any],
    module: nn.Module,
    problem: LoadedProblem,
    initial: State | None,
    path: Sequence[State],
    other: State | None,
    seed: int,
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    final = state_of(module)
    weights = SavedWeights(None if initial is None else dict(initial), final, _rows(module, [*path, final]))
    weights.trajectory_steps = tuple(range(len(path) + 1))
    _check_needs(probe, weights, other)
    draw = Draw(seed, None)
    objective = Objective(module, problem, draw, draws_in_forward=True, advances_buffers=False)
    objective.begin_step(problem.batch("train", 0, draw), 0)
    context = ProbeContext(
        options=options,
        module=module,
        problem=copy.copy(problem),
        objective=objective,
        step=0,
        epoch=0.0,
        generator=draw.generator(f"probe/{probe.name}", 0),
        weights=weights,
        other=None if other is None else SavedWeights(final=dict(other)),
        progress=progress,
    )
    return joined(probe, [checked(probe, probe.measure(context))])


def _rows(module: nn.Module, states: Sequence[State]) -> Tensor:
    """The parameters of each state, (T, P)."""
    return torch.stack([flat_from(module, dict(state)) for state in states])


def _check_needs(probe: Probe, weights: SavedWeights, other: State | None) -> None:
    """UserError where the probe needs weights that were not given."""
    if {"start", "end", "epoch"}.isdisjoint(probe.when) and other is None and "pair" in probe.when:
        raise UserError(f"{probe.name} compares two networks: other= takes the state_dict of the second one")
    if "initial" in probe.needs and weights.initial is None and other is None and probe.name not in _WITHOUT_START:
        raise UserError(f"{probe.name} needs the weights of the start: initial= takes their state_dict")
