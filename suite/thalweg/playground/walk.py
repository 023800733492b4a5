"""The path of an optimizer on a function of two variables, by the steps that trials make.

Imports torch, so it is imported where paths are computed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thalweg.contracts import BuildContext, Draw, LoadedProblem, Optimizer, Stepper, StepReport
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.modes import set_mode
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.conventions import keep, known
from thalweg.errors import Diverged, UserError
from thalweg.failure import Failure
from thalweg.landscape.points import flat
from thalweg.playground.choices import ARCHITECTURE
from thalweg.playground.functions import load_function, module_at_start
from thalweg.playground.plane import LeftGridError
from thalweg.playground.requests import Pair, Plane, Walk, WalkRequest
from thalweg.refs import UserFiles, provider_of
from thalweg.registry import Registry
from thalweg.training.contained import contained
from thalweg.training.divergence import Divergence
from thalweg.training.finding import NothingWorksError, find_conventions
from thalweg.training.loop import StepLoop
from thalweg.training.randomness import seeded
from thalweg.trial import ComponentRef, Trial

SEED = 0
"""The seed of the trial that a path is the path of."""


def walk(request: WalkRequest, registry: Registry) -> Walk:
    """The path of an optimizer: the weights of a trial in float64 with seed 0 that evaluates after each step.

    The trial's own step loop makes the steps, and the trial's bound on the loss decides what diverged. From the start
    that the problem declares, the path equals the trajectory of ``thalweg run`` with ``keep = "trajectory"``. On a
    plane, an evaluation outside of the grid ends the path.

    Raises:
        UserError: the function or the optimizer is not there, or a setting is wrong.
    """
    trial = trial_of(request, registry)
    with contained(threads=1), seeded(Draw(SEED, None).seed_for("global")):
        problem = load_function(request.function, registry)
        draw = Draw(SEED, None)
        module = module_at_start(problem, registry, draw)
        if request.start is not None:
            with torch.no_grad():
                nn.utils.vector_to_parameters(torch.tensor(request.start, dtype=torch.float64), module.parameters())
        return _Walker(trial, problem, module, draw, registry).run()


def trial_of(request: WalkRequest, registry: Registry) -> Trial:
    """The trial whose path is asked for; a plane stands in it by its name alone."""
    refs, where = UserFiles(Path()), "playground"
    function = request.function
    if isinstance(function, Plane):
        problem = ComponentRef(name="plane", provider=where)
    else:
        problem = refs.ref(registry.entry("problems", function.problem), function.options, where)
    entry = registry.entry("optimizers", request.optimizer)
    _find_out(entry.component, provider_of(entry))
    return Trial(
        problem=problem,
        architecture=refs.ref(registry.entry("architectures", ARCHITECTURE), {}, where),
        optimizer=refs.ref(entry, request.hyperparameters, where),
        budget=Budget(steps=request.steps),
        evaluate_every=Interval(steps=1),
        dtype="float64",
        seed=SEED,
    )


def _find_out(optimizer: Optimizer, provider: tuple[str, str, str | None]) -> None:
    """Find out what a foreign class needs, where it is not known, as its first run would."""
    if known(optimizer, provider) is not None:
        return
    try:
        with contained(threads=1):
            found = find_conventions(optimizer)
    except NothingWorksError:  # the class begins as a plain one, and its first step tells
        return
    keep(optimizer, provider, found)


class _Walker(StepLoop):
    """The step loop of a trial, which keeps each point."""

    def __init__(self, trial: Trial, problem: LoadedProblem, module: nn.Module, draw: Draw, registry: Registry) -> None:
        optimizer = registry.optimizer(trial.optimizer.name)
        self._module = module
        self._points: list[Pair] = []
        self._losses: list[float] = []
        self._divergence = Divergence()
        self._optimizer = optimizer
        stepper = optimizer.build(
            module,
            resolve(optimizer.options, trial.optimizer.settings, optimizer.name),
            BuildContext(draw.seed_for("optimizer"), 1, 1, trial.budget.steps, trial.optimizer.found),
        )
        if not isinstance(stepper, Stepper):
            raise TypeError(f"optimizer {optimizer.name!r} built {type(stepper).__name__} and no thalweg.Stepper")
        super().__init__(trial, problem, draw, Objective(module, problem, draw), stepper, None)

    def run(self) -> Walk:
        """The path to its end; every way to end is a result."""
        try:
            self.objective.begin_step(self.problem.batch("train", 0, self.draw), 0)
            self.evaluate(last=False)
            self._module.train()
            self.make_steps()
        except Diverged as error:
            return self._walk("diverged", str(error))
        except LeftGridError:
            step = self.spent.step
            is_point = math.isnan(self._losses[-1])
            return self._walk("left", f"at step {step}" if is_point else f"in an evaluation of step {step + 1}")
        except (Exception, SystemExit) as error:  # a plugin's mistake ends its own path
            return self._walk("failed", str(error) if isinstance(error, UserError) else Failure.of(error).line)
        return self._walk("done")

    def goes_on(self) -> bool:
        """Whether the budget has steps left."""
        return self.spent.step < (self.trial.budget.steps or 0)

    def before_step(self) -> None:
        """The learning rate is constant, and no weight decays beside the step."""

    def after_step(self, report: StepReport) -> None:
        """Put the point back into the problem's domain, where it has one."""
        if not isinstance(report, StepReport):
            raise TypeError(f"a step returned {type(report).__name__} and no thalweg.StepReport")
        self.stepper.project(lambda: self.problem.project(list(self._module.parameters())))

    def check_loss(self) -> None:
        """Diverged where the loss of the step is past its bound."""
        loss = self.objective.step_loss
        if loss is None:
            raise RuntimeError(f"optimizer {self.trial.optimizer.name!r} took a step without evaluating the loss")
        self._divergence.check(loss.item(), self.spent.step)

    def count_step(self, report: StepReport) -> None:
        """Nothing is kept of a step but its point."""

    def evaluate(self, last: bool) -> None:
        """Keep the point and its loss; Diverged where the loss is past its bound."""
        with self.stepper.evaluation_weights():
            set_mode(self._module, training=False)
            x, y = flat(self._module).tolist()
            self._points.append((x, y))
            self._losses.append(float("nan"))
            self._losses[-1] = self.problem.evaluate(self._module, "train")["loss"]
            set_mode(self._module, training=True)
        self._divergence.check(self._losses[-1], self.spent.step)

    def state(self) -> dict[str, Any]:
        """A path is short, and has no checkpoint."""
        return {}

    def _walk(self, status: Any, reason: str = "") -> Walk:
        return Walk(status=status, reason=reason, points=tuple(self._points), losses=tuple(self._losses))
