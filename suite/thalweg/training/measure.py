"""One measurement of a probe: while its trial trains, or on weights that were saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.probe import ProbeContext, SavedWeights
from thalweg.landscape.points import flat
from thalweg.registry import Registry
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.training.contained import contained
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.training.tables import checked, joined
from thalweg.trial import Trial


def measure_now(active: ActiveProbe, context: ProbeContext, draw: Draw, cost: dict[str, float]) -> Any:
    """The checked result of a probe. What the probe evaluated is added to ``cost``, also when the probe raises."""
    try:
        with contained(), seeded(draw.seed_for(f"probe/{active.request.key}/global", context.step)):
            return checked(active.probe, active.probe.measure(context))
    finally:
        for name, amount in asdict(context.objective.counts).items():
            cost[name] = cost.get(name, 0) + amount


@contextmanager
def timed(cost: dict[str, float]) -> Iterator[None]:
    """Add the seconds that pass to ``cost``."""
    started = time.perf_counter()
    try:
        yield
    finally:
        cost["seconds"] = cost.get("seconds", 0.0) + time.perf_counter() - started


def measure_saved(
    trial: Trial,
    active: ActiveProbe,
    registry: Registry,
    weights: SavedWeights,
    steps: int,
    cost: dict[str, float],
    *,
    other: SavedWeights | None = None,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """The table of a probe on a trial that was saved with its weights; the trial is not trained again.

    A probe that looks at the end gets equal inputs and gives equal numbers. A probe that looks during training gets
    the start and the end.

    Args:
        trial: the trial.
        active: the probe.
        registry: where the trial's components are.
        weights: the saved weights.
        steps: the steps that the trial was trained for.
        cost: the cost of the measurement is added here.
        other: the other trial's weights, for a probe that compares a pair.
        scratch: see ``ProbeContext``.
        progress: see ``ProbeContext``.
    """
    moments = [(0, weights.initial)] if other is None and "start" in active.probe.when else []
    if other is not None or {"step", "epoch", "end"} & set(active.probe.when):
        moments.append((steps, weights.final))
    parts = []
    for step, state in moments:
        assert state is not None
        it = assemble(trial, registry)
        _load(it.module, state)
        _check_way(it.module, weights)
        it.module.train()
        # during training a probe sees the batch of the step that was just made
        at = max(step - 1, 0)
        it.objective.begin_step(it.problem.batch("train", at, it.draw), at)
        context = ProbeContext(
            options=active.options,
            module=it.module,
            problem=it.problem,
            objective=it.objective.observer(),
            step=step,
            epoch=step / it.problem.steps_per_epoch(it.draw.batch_size),
            # by its name, so that other settings look along the same directions
            generator=it.draw.generator(f"probe/{active.probe.name}", step),
            weights=weights,
            other=other,
            optimizer=it.optimizer,
            hyperparameters=it.hyperparameters,
            lr=it.hyperparameters.get("lr") if trial.schedule.is_constant else None,
            batch_size=it.batch_size,
            scratch=scratch,
            progress=progress,
        )
        with timed(cost), products_of(trial):
            parts.append(measure_now(active, context, it.draw, cost))
        it.check_data()
    with timed(cost):
        return joined(active.probe, parts)


def _load(module: nn.Module, state: dict[str, Any]) -> None:
    """Load a saved state into a module; ValueError where a part of the module's state could not be saved."""
    unsaved = [name for name in module.state_dict() if name.endswith("_extra_state") and name not in state]
    if unsaved:
        raise ValueError(
            f"{unsaved[0]} of the network is not made of numbers, words, lists and dictionaries of words, and was not "
            "saved: name the probe in the benchmark, so that it measures while the trial trains"
        )
    for name, here in module.state_dict().items():
        saved = state.get(name)
        # torch would convert the numbers to the types of the module without a word
        if isinstance(saved, Tensor) and isinstance(here, Tensor) and saved.dtype != here.dtype:
            raise ValueError(f"the saved {name} has {saved.dtype}, and the network has {here.dtype}")
    module.load_state_dict(state)


def _check_way(module: nn.Module, weights: SavedWeights) -> None:
    """ValueError where the saved trajectory has other parameters than the network."""
    wanted = flat(module).numel()
    if weights.trajectory is not None and weights.trajectory.shape[1] != wanted:
        found = f"{weights.trajectory.shape[1]:,} parameters, and the network has {wanted:,}"
        raise ValueError(f"the points of the saved trajectory have {found}")


def lacking(active: ActiveProbe, weights: SavedWeights, pair: bool) -> list[str]:
    """The names of the weights that a probe needs and that were not saved."""
    needed = {"final"} if pair else active.probe.measured_on
    return [name for name in ("initial", "final", "trajectory") if name in needed and getattr(weights, name) is None]
