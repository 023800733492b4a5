"""Evaluates, selects, probes and records one trial, whether it trains alone or in a stack."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor

from thalweg.benchmark_file import Keep
from thalweg.contracts.copies import state_of
from thalweg.contracts.costs import EVALUATIONS
from thalweg.contracts.modes import set_mode
from thalweg.contracts.probe import SavedWeights, When
from thalweg.contracts.problem import Split
from thalweg.failure import Failure
from thalweg.hooks import call_hook, has_hook
from thalweg.landscape.points import flat
from thalweg.training.assembly import ActiveProbe, Assembly
from thalweg.training.checkpoint import random_state, set_random_state
from thalweg.training.contained import contained
from thalweg.training.divergence import Divergence
from thalweg.training.hidden import check_states
from thalweg.training.probing import Probing
from thalweg.training.recorder import Recorder
from thalweg.training.spent import Spent
from thalweg.training.state_precision import coarser_than
from thalweg.training.statistics import statistics_at
from thalweg.training.steady import Steady
from thalweg.training.trained import Trained


class Recording:
    """The evaluations, selection, probes, end and summary of one trial.

    Args:
        assembly: what the trial trains with. The module holds the trial's weights whenever this object looks.
        probes: measured when they are due.
        keep: which weights are kept; probes keep what they need besides.
        spent: the steps and seconds so far, which the step loop counts.
    """

    def __init__(self, assembly: Assembly, probes: list[ActiveProbe], keep: Keep | None, spent: Spent) -> None:
        self.it = assembly
        self.spent = spent
        self.recorder = Recorder()
        self.weights = SavedWeights()
        self.steady = Steady(assembly.module)
        self.probing = Probing(probes, assembly)
        self.divergence = Divergence()
        self.info: dict[str, float] = {}
        """What the last step reported."""
        self.resumed_at: list[int] = []
        """The steps at which the training went on after an interruption."""
        self.coarse_state: list[str] = []
        self.statistics_examples = 0
        """Examples that went through the module for batch norm's statistics alone; see ``statistics_at``."""
        self.hook_failures: dict[str, Failure] = {}
        self._keeps = bool(probes) or keep is not None
        self._keeps_trajectory = keep == "trajectory" or any("trajectory" in one.probe.needs for one in probes)
        self._trajectory: list[tuple[int, Tensor]] = []
        self._best: tuple[float, int, dict[str, Tensor]] | None = None
        self._steps_per_epoch = assembly.problem.steps_per_epoch(assembly.draw.batch_size)
        # float64 where the device has it
        place = "cpu" if assembly.trial.device == "mps" else assembly.trial.device
        self._online_total = torch.zeros((), dtype=torch.float64, device=place)

    def state(self) -> dict[str, Any]:
        """What changes while the trial trains, for a checkpoint."""
        return {
            "own": {name: getattr(self, name) for name in _STATE},
            "spent": vars(self.spent).copy(),
            "first_loss": self.divergence.first,
            "rows": self.recorder.rows,
            "probing": self.probing.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over ``state``."""
        vars(self).update(state["own"])
        vars(self.spent).update(state["spent"])
        self.divergence.first = state["first_loss"]
        self.recorder.rows = state["rows"]
        self.probing.restore(state["probing"])

    def resume(self) -> None:
        """Note that the training goes on here after an interruption."""
        self.resumed_at = [*self.resumed_at, self.spent.step]

    def begin(self) -> None:
        """Keep the first weights, evaluate them, and ask the probes of the start."""
        if self._keeps:
            self.weights.initial = state_of(self.it.module, "cpu")
        # the first batch, so that probes at the start have an objective to look at
        self.it.objective.begin_step(self.it.problem.batch("train", 0, self.it.draw), 0)
        self.evaluate()
        self.probe("start")

    def pay(self, loss: Tensor) -> None:
        """Add the loss of a step to the losses that an online problem has paid."""
        self._online_total += loss.to(self._online_total.device)

    def probe(self, when: When) -> None:
        """Ask the probes that are due."""
        self.probing.measure(when, self.spent.step, self.spent.step / self._steps_per_epoch, self.weights)

    def finish(self) -> None:
        """Read the test split, keep the last weights, ask the probes of the end, and check what must hold."""
        self.coarse_state = self._coarse_state()
        self._test()
        if self._keeps:
            with self.looking():
                self.weights.final = state_of(self.it.module, "cpu")
            if self._trajectory:
                steps, points = zip(*self._trajectory, strict=True)
                self.weights.trajectory, self.weights.trajectory_steps = torch.stack(points), steps
        self.probe("end")
        self.it.check_data(thoroughly=True)
        check_states(self.it)

    def result(
        self, status: Literal["done", "diverged", "failed"], reason: str = "", failure: Failure | None = None
    ) -> Trained:
        """The result of a training that ended so."""
        return Trained(
            status,
            reason,
            failure,
            self.recorder.table(),
            self.summary(),
            self.probing.tables(whole=status == "done"),
            self.probing.failures,
            self.probing.costs,
            self.weights,
            self.hook_failures,
        )

    def state_bytes(self) -> int | None:
        """The bytes of the optimizer's state; None where the stepper cannot say."""
        try:
            return self.it.stepper.state_bytes()
        except Exception:  # a stepper needs no state dict to train
            return None

    def summary(self) -> dict[str, Any]:
        """The numbers of the whole training."""
        final: dict[str, dict[str, float]] = {}
        for row in self.recorder.rows:
            if row["split"] != "optimizer":
                final.setdefault(row["split"], {})[row["metric"]] = row["value"]
        return {
            "final": final,
            "selected_step": self._best[1] if self._best else self.spent.step,
            "parameters": sum(parameter.numel() for parameter in self.it.module.parameters()),
            "steps_per_epoch": self._steps_per_epoch,
            "state_bytes": self.state_bytes(),
            **self._position(),
            "costs": asdict(self.it.costs),
            "evaluations": {kind: getattr(self.it.objective.counts, kind) for kind in EVALUATIONS},
            **({"resumed_at": self.resumed_at} if self.resumed_at else {}),
            **({"coarse_state": self.coarse_state} if self.coarse_state else {}),
            **({"statistics_examples": self.statistics_examples} if self.statistics_examples else {}),
        }

    def _check_precision(self) -> None:
        """RuntimeError where the steps left weights of another precision than the trial's."""
        dtype = getattr(torch, self.it.trial.dtype)
        changed = {str(p.dtype) for p in self.it.module.parameters() if p.is_floating_point() and p.dtype != dtype}
        if changed:
            name = self.it.trial.optimizer.name
            raise RuntimeError(f"optimizer {name!r} left weights of {', '.join(changed)} in a trial of {dtype}")

    def _coarse_state(self) -> list[str]:
        """What the optimizer keeps in a lower precision than the trial's."""
        try:
            return coarser_than(self.it.stepper.state_dict(), getattr(torch, self.it.trial.dtype))
        except Exception:  # a stepper needs no state dict to train
            return []

    def _position(self) -> dict[str, Any]:
        counts = self.it.objective.counts
        return {
            "step": self.spent.step,
            "epoch": self.spent.step / self._steps_per_epoch,
            "examples": counts.examples,
            "gradient_evaluations": counts.gradient_evaluations,
            "curvature_products": counts.curvature_products,
            "factor_inversions": counts.factor_inversions,
            "work": self.it.costs.work(counts),
            "seconds": self.spent.seconds,
        }

    def evaluate(self) -> None:
        """Evaluate train and validation, keep the best weights, and end a trial that has diverged."""
        it = self.it
        position = self._position()
        self._call_hook("thalweg_evaluation_started", step=self.spent.step)
        values: dict[str, dict[str, float]] = {}
        with self.looking():
            splits: tuple[Split, ...] = ("train", "valid")
            for split in splits:
                if split in it.problem.sizes:
                    values[split] = self.measured(split)
                    it.check_data()
                    if it.problem.online:
                        total = self._online_total.item()
                        values[split] |= it.problem.online_metrics(self.spent.step, total, it.draw)
                    self._check_metrics(values[split])
                    it.check_finite(split, values[split]["loss"])
                    self.recorder.add(position, split, values[split])
            if "valid" in values:
                self._select(values["valid"])
            if self._keeps_trajectory:
                self._trajectory.append((self.spent.step, flat(it.module).cpu()))
        if self.info:
            self.recorder.add(position, "optimizer", self.info)
        self._call_hook("thalweg_evaluation_finished", step=self.spent.step, metrics=copy.deepcopy(values))
        self.divergence.check(values["train"]["loss"], self.spent.step)

    def measured(self, split: Split) -> dict[str, float]:
        """The problem's metrics on a split, at the weights that the module holds."""
        return self.it.problem.evaluate(self.it.module, split)

    def _check_metrics(self, values: dict[str, float]) -> None:
        missing = [metric.name for metric in self.it.problem.metrics if metric.name not in values]
        if missing:
            raise RuntimeError(f"problem {self.it.trial.problem.name!r} gives no value of {', '.join(missing)}")

    def _select(self, values: dict[str, float]) -> None:
        """Keep the weights of the best validation value so far; the earliest among equals."""
        primary = self.it.problem.metrics[0]
        value = values[primary.name] * (1 if primary.better == "higher" else -1)
        if math.isfinite(value) and (self._best is None or value > self._best[0]):
            self._best = (value, self.spent.step, state_of(self.it.module))

    @property
    def selected(self) -> dict[str, Tensor] | None:
        """The state of the module with the best validation value so far; None without one."""
        return None if self._best is None else self._best[2]

    def _test(self) -> None:
        """Read the test split once: at the weights that validation selects, or at the last ones without validation."""
        it = self.it
        if "test" not in it.problem.sizes:
            return
        final = state_of(it.module)
        position = self._position()
        with self.looking():
            if self._best is not None:
                at = self._best[1]
                position = next({key: row[key] for key in position} for row in self.recorder.rows if row["step"] == at)
                it.module.load_state_dict(self._best[2])
            self._call_hook("thalweg_evaluation_started", step=position["step"])
            values = self.measured("test")
            it.check_data()
            it.check_finite("test", values["loss"])
            self.recorder.add(position, "test", values)
        self._call_hook("thalweg_evaluation_finished", step=position["step"], metrics={"test": dict(values)})
        it.module.load_state_dict(final)

    def _call_hook(self, name: str, **arguments: Any) -> None:
        """Call a hook of the evaluation, and restore torch's settings and the random generators afterwards."""
        if has_hook(self.it.registry, name):
            state = random_state()
            with contained():
                call_hook(self.it.registry, name, self.hook_failures, trial=self.it.trial, **arguments)
            set_random_state(state)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """While active, the module has the weights to evaluate, their batch norm statistics, and is in eval mode."""
        it = self.it
        self._check_precision()
        with it.stepper.evaluation_weights(), statistics_at(it, self.spent.step > 0) as examples:
            self.statistics_examples += examples
            set_mode(it.module, training=False)
            try:
                yield
            finally:
                set_mode(it.module, training=True)
            self.steady.check()


_STATE = (
    "info",
    "weights",
    "resumed_at",
    "statistics_examples",
    "hook_failures",
    "_trajectory",
    "_best",
    "_online_total",
)
"""The attributes of a recording that change while the trial trains. Its parts save theirs themselves."""
