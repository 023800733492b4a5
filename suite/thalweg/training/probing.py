"""Runs the probes of a trial in training when they are due, on copies, and keeps what they measured."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import nn

from thalweg.contracts.probe import ProbeContext, SavedWeights, When
from thalweg.failure import Failure
from thalweg.training.assembly import ActiveProbe, Assembly
from thalweg.training.copies import copied_stepper, refreshed
from thalweg.training.measure import measure_now, timed
from thalweg.training.tables import joined


class Probing:
    """The probes of one trial and what they have measured so far. A probe that fails is not run again."""

    def __init__(self, probes: list[ActiveProbe], assembly: Assembly) -> None:
        self.it = assembly
        self.probes = [(active.request.key, active) for active in probes]
        self.failures: dict[str, Failure] = {}
        self.costs: dict[str, dict[str, float]] = {}
        self._measurements: dict[str, list[Any]] = {}
        self._copies: dict[str, nn.Module] = {}

    def state(self) -> dict[str, Any]:
        """The measurements, failures and costs so far."""
        return {"measurements": self._measurements, "failures": self.failures, "costs": self.costs}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self._measurements, self.failures, self.costs = state["measurements"], state["failures"], state["costs"]

    def due(self, when: When, step: int) -> bool:
        """Whether a probe is to be measured."""
        return any(
            when in active.probe.when and key not in self.failures and active.probe.due(active.options, step)
            for key, active in self.probes
        )

    def measure(self, when: When, step: int, epoch: float, weights: SavedWeights) -> None:
        """Run the probes that are due."""
        for key, active in self.probes:
            if when not in active.probe.when or key in self.failures:
                continue
            if not active.probe.due(active.options, step):
                continue
            cost = self.costs.setdefault(key, {})
            with timed(cost):
                try:
                    context = self._context(key, active, when, step, epoch, weights)
                    part = measure_now(active, context, self.it.draw, cost)
                    self._measurements.setdefault(key, []).append(part)
                except (Exception, SystemExit) as error:
                    self.failures[key] = Failure.of(error)
                    self._measurements.pop(key, None)
            # a probe may change its copies, but all trials share the data
            self.it.check_data()

    def tables(self, whole: bool) -> dict[str, pd.DataFrame]:
        """The table of each probe. After a whole training, a probe that was never due has an empty table."""
        tables = {}
        for key, active in self.probes:
            if key not in self.failures and (whole or key in self._measurements):
                try:
                    with timed(self.costs.setdefault(key, {})):
                        tables[key] = joined(active.probe, self._measurements.get(key, []))
                except Exception as error:
                    self.failures[key] = Failure.of(error)
        return tables

    def _context(
        self, key: str, active: ActiveProbe, when: When, step: int, epoch: float, weights: SavedWeights
    ) -> ProbeContext:
        """Copies of module and stepper for a probe, so that nothing that the probe does reaches the training.

        At the end the copy has the weights that are evaluated. An optimizer that averages trains other weights.
        """
        it = self.it
        module = self._copies[key] = refreshed(self._copies.get(key), it.module)
        if when == "end" and weights.final is not None:
            module.load_state_dict(weights.final)
        problem = copy.copy(it.problem)
        return ProbeContext(
            options=active.options,
            module=module,
            problem=problem,
            objective=it.objective.observer(module, problem),
            step=step,
            epoch=epoch,
            # by its name, so that other settings look along the same directions
            generator=it.draw.generator(f"probe/{active.probe.name}", step),
            weights=weights,
            optimizer=it.optimizer,
            hyperparameters=it.hyperparameters,
            lr=getattr(it.stepper, "lr", None),
            batch_size=it.batch_size,
            copy_stepper=lambda: copied_stepper(it.stepper, it.module, module),
        )
