"""The training loop: steps, evaluations on declared steps, probes, budgets and divergence."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from thalweg.benchmark_file import Keep
from thalweg.contracts import StepReport
from thalweg.contracts.copies import state_of
from thalweg.contracts.modes import set_mode
from thalweg.contracts.probe import SavedWeights, When
from thalweg.contracts.problem import Split
from thalweg.errors import Diverged
from thalweg.failure import Failure
from thalweg.landscape.points import flat
from thalweg.training.assembly import ActiveProbe, Assembly
from thalweg.training.checkpoint import Checkpoint, random_state, set_random_state
from thalweg.training.hidden import check_states
from thalweg.training.precision import products_of
from thalweg.training.probing import Probing
from thalweg.training.recipe import Around
from thalweg.training.recorder import Recorder
from thalweg.training.state_precision import coarser_than
from thalweg.training.statistics import statistics_at
from thalweg.training.steady import Steady

DIVERGENCE_FACTOR = 1e6
"""A training loss past this many times max(1, its first value) ends the trial as diverged, as nan and infinity do."""

_CHECK_EVERY = {"cpu": 1, "cuda": 25, "mps": 25}
"""Steps between looks at the loss: on a GPU each look waits for the device."""

_STATE = (
    "step",
    "seconds",
    "weights",
    "resumed_at",
    "_trajectory",
    "_first_loss",
    "_best",
    "_info",
    "_online_total",
    "statistics_examples",
)
"""The attributes of a training that change while it runs, besides those of its parts."""


@dataclass
class Trained:
    """What training a trial gave."""

    status: Literal["done", "diverged", "failed"]
    reason: str
    failure: Failure | None
    curve: pd.DataFrame
    summary: dict[str, Any]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    probe_failures: dict[str, Failure] = field(default_factory=dict)
    probe_costs: dict[str, dict[str, float]] = field(default_factory=dict)
    weights: SavedWeights = field(default_factory=SavedWeights)


class Training:
    """One trial being trained. ``run`` does it all; the rest are its parts."""

    def __init__(
        self,
        assembly: Assembly,
        probes: list[ActiveProbe],
        progress: Callable[[int, int], None],
        keep: Keep | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.it = assembly
        self.progress = progress
        self.checkpoint = checkpoint
        self.recorder = Recorder()
        self.step = 0
        self.seconds = 0.0
        self.weights = SavedWeights()
        self.steady = Steady(assembly.module)
        self.probing = Probing(probes, assembly)
        self._keeps = bool(probes) or keep is not None
        self._keeps_trajectory = keep == "trajectory" or any("trajectory" in one.probe.needs for one in probes)
        self._trajectory: list[tuple[int, Tensor]] = []
        self._first_loss: float | None = None
        self._best: tuple[float, int, dict[str, Tensor]] | None = None
        self._steps_per_epoch = assembly.problem.steps_per_epoch(assembly.draw.batch_size)
        self._info: dict[str, float] = {}
        # float64 where the device has it
        place = "cpu" if assembly.trial.device == "mps" else assembly.trial.device
        self._online_total = torch.zeros((), dtype=torch.float64, device=place)
        self.resumed_at: list[int] = []
        self.coarse_state: list[str] = []
        self.statistics_examples = 0
        """Examples that went through the module for batch norm's statistics alone; see ``statistics_at``."""

    @functools.cached_property
    def recipe(self) -> Around:
        """What the trial does around each step; to be asked for before the first one."""
        trial = self.it.trial
        # what the first step will take of a budget in seconds nobody knows
        first = 1e-3 if trial.budget.seconds is not None else 1 / self._total_steps()
        return Around(trial, self.it.stepper, self.it.objective.parameters, first)

    def own_state(self) -> dict[str, Any]:
        """What is not one of its parts'."""
        return {name: getattr(self, name) for name in _STATE}

    def state(self) -> dict[str, Any]:
        """All that the steps to come and the results depend on."""
        it = self.it
        return {
            "own": self.own_state(),
            "rows": self.recorder.rows,
            "module": it.module.state_dict(),
            "stepper": it.stepper.state_dict(),
            "counts": asdict(it.objective.counts),
            "recipe": self.recipe.state(),
            "probing": self.probing.state(),
            "random": random_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, of a training with the same parts. After an error this one is good for nothing."""
        it = self.it
        self.recipe.restore(state["recipe"])
        vars(self).update(state["own"])
        self.recorder.rows = state["rows"]
        it.module.load_state_dict(state["module"])
        it.stepper.load_state_dict(state["stepper"])
        for name, count in state["counts"].items():
            setattr(it.objective.counts, name, count)
        self.probing.restore(state["probing"])
        set_random_state(state["random"])
        self.resumed_at = [*self.resumed_at, self.step]

    def run(self) -> Trained:
        """Train to the end of the budget, to divergence or to an exception; all three are results."""
        status: Literal["done", "diverged", "failed"] = "done"
        reason, failure = "", None
        try:
            with products_of(self.it.trial):
                if not self.resumed_at:
                    self._start()
                self._train()
                self._finish()
        except Diverged as error:
            status, reason = "diverged", str(error)
        except (Exception, SystemExit) as error:  # a plugin's sys.exit ends its trial and not the run
            status, failure = "failed", Failure.of(error)
            reason = failure.line
        return Trained(
            status,
            reason,
            failure,
            self.recorder.table(),
            self._summary(),
            self.probing.tables(whole=status == "done"),
            self.probing.failures,
            self.probing.costs,
            self.weights,
        )

    @property
    def _epoch(self) -> float:
        return self.step / self._steps_per_epoch

    def _start(self) -> None:
        if self._keeps:
            self.weights.initial = self._state()
        # the first batch, so that probes at the start have an objective to look at
        self.it.objective.begin_step(self.it.problem.batch("train", 0, self.it.draw), 0)
        self._evaluate()
        self._probe("start")

    def _train(self) -> None:
        it = self.it
        parameters = list(it.module.parameters())
        check_every = _CHECK_EVERY[it.trial.device]
        interval = it.trial.evaluate_every
        evaluate_steps = interval.steps or (interval.epochs or 1) * self._steps_per_epoch
        total = self._total_steps()
        project = functools.partial(it.problem.project, parameters)
        recipe = self.recipe
        counts_gradients = it.trial.budget.gradient_evaluations is not None
        it.module.train()
        while not self._exhausted():
            batch = it.problem.batch("train", self.step, it.draw)
            started = time.perf_counter()
            it.objective.begin_step(batch, self.step)
            gradients = it.objective.counts.gradient_evaluations
            recipe.before(self.step, self._share(total))
            report = it.stepper.step(it.objective)
            if not isinstance(report, StepReport):
                raise TypeError(f"a step returned {type(report).__name__} and no thalweg.StepReport")
            it.objective.check_batch()
            self.steady.check_trained()
            recipe.after()
            it.stepper.project(project)
            if self.step % check_every == 0:
                self._check_loss(it.objective.step_loss)
            if it.problem.online and it.objective.step_loss is not None:
                self._online_total += it.objective.step_loss.to(self._online_total.device)
            self.seconds += time.perf_counter() - started
            if counts_gradients and it.objective.counts.gradient_evaluations == gradients:
                name = it.trial.optimizer.name
                raise RuntimeError(f"optimizer {name!r} takes no gradients, so a budget of gradients never ends")
            self.step += 1
            if report.info or recipe.info:
                self._info = report.info | recipe.info
            self._probe("step")
            if self.step % self._steps_per_epoch == 0:
                self._probe("epoch")
            if self.step % evaluate_steps == 0 and not self._exhausted():
                self._synchronize()
                self._evaluate()
                self.progress(min(self._spent(), total), total)
                if self.checkpoint is not None and self.checkpoint.due:
                    self.checkpoint.save(self.state())
        self._synchronize()
        self._evaluate()
        self.progress(total, total)

    def _synchronize(self) -> None:
        """Let a GPU finish, so that its time is counted where it was spent."""
        if self.it.trial.device != "cpu":
            started = time.perf_counter()
            torch.accelerator.synchronize()
            self.seconds += time.perf_counter() - started

    def _finish(self) -> None:
        self.coarse_state = self._coarse_state()
        self._test()
        if self._keeps:
            with self._looking():
                self.weights.final = self._state()
            if self._trajectory:
                steps, points = zip(*self._trajectory, strict=True)
                self.weights.trajectory, self.weights.trajectory_steps = torch.stack(points), steps
        self._probe("end")
        self.it.check_data(thoroughly=True)
        check_states(self.it)

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
        except Exception:  # a stepper without a state dict trains all the same
            return []

    def _total_steps(self) -> int:
        budget = self.it.trial.budget
        if budget.epochs is not None:
            return budget.epochs * self._steps_per_epoch
        return int(budget.steps or budget.gradient_evaluations or math.ceil(budget.seconds or 1))

    def _spent(self) -> int:
        budget = self.it.trial.budget
        if budget.gradient_evaluations is not None:
            return self.it.objective.counts.gradient_evaluations
        return int(self.seconds) if budget.seconds is not None else self.step

    def _share(self, total: int) -> float:
        """The share of the budget that is spent."""
        seconds = self.it.trial.budget.seconds
        return self._spent() / total if seconds is None else self.seconds / seconds

    def _exhausted(self) -> bool:
        budget = self.it.trial.budget
        if budget.seconds is not None:
            return self.seconds >= budget.seconds
        return self._spent() >= self._total_steps()

    def _check_loss(self, loss: Tensor | None) -> None:
        if loss is None:
            raise RuntimeError(f"optimizer {self.it.trial.optimizer.name!r} took a step without evaluating the loss")
        self._check_value(loss.item())

    def _check_value(self, value: float) -> None:
        if self._first_loss is None:
            self._first_loss = abs(value)
        if not abs(value) <= DIVERGENCE_FACTOR * max(1.0, self._first_loss):
            raise Diverged(f"training loss {value:.4g} at step {self.step}")

    def _position(self) -> dict[str, Any]:
        counts = self.it.objective.counts
        return {
            "step": self.step,
            "epoch": self._epoch,
            "examples": counts.examples,
            "gradient_evaluations": counts.gradient_evaluations,
            "curvature_products": counts.curvature_products,
            "factor_inversions": counts.factor_inversions,
            "seconds": self.seconds,
        }

    def _evaluate(self) -> None:
        it = self.it
        position = self._position()
        values: dict[str, dict[str, float]] = {}
        with self._looking():
            splits: tuple[Split, ...] = ("train", "valid")
            for split in splits:
                if split in it.problem.sizes:
                    values[split] = it.problem.evaluate(it.module, split)
                    it.check_data()
                    if it.problem.online:
                        total = self._online_total.item()
                        values[split] |= it.problem.online_metrics(self.step, total, it.draw)
                    self._check_metrics(values[split])
                    it.check_finite(split, values[split]["loss"])
                    self.recorder.add(position, split, values[split])
            if "valid" in values:
                self._select(values["valid"])
            if self._keeps_trajectory:
                self._trajectory.append((self.step, flat(it.module).cpu()))
        if self._info:
            self.recorder.add(position, "optimizer", self._info)
        self._check_value(values["train"]["loss"])

    def _check_metrics(self, values: dict[str, float]) -> None:
        missing = [metric.name for metric in self.it.problem.metrics if metric.name not in values]
        if missing:
            raise RuntimeError(f"problem {self.it.trial.problem.name!r} gives no value of {', '.join(missing)}")

    def _select(self, values: dict[str, float]) -> None:
        """Keep the weights of the best validation value so far; the earliest among equals."""
        primary = self.it.problem.metrics[0]
        value = values[primary.name] * (1 if primary.better == "higher" else -1)
        if math.isfinite(value) and (self._best is None or value > self._best[0]):
            self._best = (value, self.step, copy.deepcopy(self.it.module.state_dict()))

    def _test(self) -> None:
        """Read the test split once: at the weights that validation selects, or at the last ones without validation."""
        it = self.it
        if "test" not in it.problem.sizes:
            return
        final = state_of(it.module)
        position = self._position()
        with self._looking():
            if self._best is not None:
                at = self._best[1]
                position = next({key: row[key] for key in position} for row in self.recorder.rows if row["step"] == at)
                it.module.load_state_dict(self._best[2])
            values = it.problem.evaluate(it.module, "test")
            it.check_data()
            it.check_finite("test", values["loss"])
            self.recorder.add(position, "test", values)
        it.module.load_state_dict(final)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """The module as it is evaluated: its weights, batch norm's statistics there, evaluation mode."""
        it = self.it
        self._check_precision()
        with it.stepper.evaluation_weights(), statistics_at(it, self.step > 0) as examples:
            self.statistics_examples += examples
            set_mode(it.module, training=False)
            try:
                yield
            finally:
                set_mode(it.module, training=True)
            self.steady.check()

    def _state(self) -> dict[str, Any]:
        return state_of(self.it.module, "cpu")

    def _probe(self, when: When) -> None:
        self.probing.measure(when, self.step, self._epoch, self.weights)

    def _state_bytes(self) -> int | None:
        try:
            return self.it.stepper.state_bytes()
        except Exception:  # a stepper without a state dict trains all the same
            return None

    def _summary(self) -> dict[str, Any]:
        final: dict[str, dict[str, float]] = {}
        for row in self.recorder.rows:
            if row["split"] != "optimizer":
                final.setdefault(row["split"], {})[row["metric"]] = row["value"]
        return {
            "final": final,
            "selected_step": self._best[1] if self._best else self.step,
            "parameters": sum(parameter.numel() for parameter in self.it.module.parameters()),
            "steps_per_epoch": self._steps_per_epoch,
            "state_bytes": self._state_bytes(),
            **self._position(),
            **({"resumed_at": self.resumed_at} if self.resumed_at else {}),
            **({"coarse_state": self.coarse_state} if self.coarse_state else {}),
            **({"statistics_examples": self.statistics_examples} if self.statistics_examples else {}),
        }
