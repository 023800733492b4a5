"""One trial in training by itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from thalweg.benchmark_file import Keep
from thalweg.contracts import StepReport
from thalweg.errors import Diverged
from thalweg.failure import Failure
from thalweg.training.assembly import ActiveProbe, Assembly
from thalweg.training.checkpoint import Checkpoint, random_state, set_random_state
from thalweg.training.loop import StepLoop
from thalweg.training.precision import products_of
from thalweg.training.recipe import StepRecipe
from thalweg.training.recording import Recording
from thalweg.training.spent import Meter
from thalweg.training.trained import Trained


class Training(StepLoop):
    """One trial in training. ``run`` trains it from beginning to end; the other methods are parts of ``run``.

    Args:
        assembly: what the trial trains with.
        probes: measured while it trains and at the end.
        progress: called with what is spent of the budget and the whole budget, at each evaluation.
        keep: which weights the result has.
        checkpoint: where the state is kept.
    """

    def __init__(
        self,
        assembly: Assembly,
        probes: list[ActiveProbe],
        progress: Callable[[int, int], None],
        keep: Keep | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        it = assembly
        super().__init__(it.trial, it.problem, it.draw, it.objective, it.stepper, checkpoint)
        self.it = it
        self.progress = progress
        self.recording = Recording(it, probes, keep, self.spent)
        counts = it.objective.counts
        self.meter = Meter(it.trial.budget, self.spent, counts, self.steps_per_epoch, lambda: it.costs.work(counts))
        self._project = functools.partial(it.problem.project, list(it.module.parameters()))
        self._share_before = 0.0
        budget = it.trial.budget
        # most trials never ask which share of the budget is spent, and every step would compute it
        self._counts_share = budget.gradient_evaluations is not None or budget.work is not None
        self._needs_share = self._counts_share or not it.trial.schedule.is_constant

    @functools.cached_property
    def recipe(self) -> StepRecipe:
        """What the trial does around each step; to be asked for before the first one."""
        # nobody knows what share of a budget in seconds the first step will take; the least work is a gradient
        least = self.trial.budget.work and (self.draw.batch_size or self.problem.sizes["train"])
        first = 1e-3 if self.trial.budget.seconds is not None else (least or 1) / self.meter.total
        return StepRecipe(self.trial, self.stepper, self.objective.parameters, first)

    def run(self) -> Trained:
        """Train to the end of the budget, to divergence or to an exception; all three are results."""
        try:
            with products_of(self.trial):
                if not self.recording.resumed_at:
                    self.recording.begin()
                self.it.module.train()
                self.make_steps()
                self.recording.finish()
        except Diverged as error:
            return self.recording.result("diverged", str(error))
        except (Exception, SystemExit) as error:  # a plugin's sys.exit ends its trial and not the run
            failure = Failure.of(error)
            return self.recording.result("failed", failure.line, failure)
        return self.recording.result("done")

    def goes_on(self) -> bool:
        """Whether the budget has something left."""
        return not self.meter.exhausted

    def before_step(self) -> None:
        """Set the learning rate."""
        if self._needs_share:
            self._share_before = self.meter.share
        self.recipe.before(self.spent.step, self._share_before)

    def after_step(self, report: StepReport) -> None:
        """Check the step, then decay and project the weights."""
        if not isinstance(report, StepReport):
            raise TypeError(f"a step returned {type(report).__name__} and no thalweg.StepReport")
        self.objective.check_batch()
        self.recording.steady.check_trained()
        self.recipe.after()
        self.stepper.project(self._project)

    def check_loss(self) -> None:
        """Diverged where the step's loss is past its bound; RuntimeError where the step evaluated none."""
        loss = self.objective.step_loss
        if loss is None:
            raise RuntimeError(f"optimizer {self.trial.optimizer.name!r} took a step without evaluating the loss")
        self.recording.divergence.check(loss.item(), self.spent.step)

    def count_step(self, report: StepReport) -> None:
        """Add what an online problem pays, keep what the step reports, and measure probes that are due."""
        if self.problem.online and self.objective.step_loss is not None:
            self.recording.pay(self.objective.step_loss)
        if self._counts_share and self.meter.share == self._share_before:
            what = "gradients" if self.trial.budget.gradient_evaluations else "work"
            name = self.trial.optimizer.name
            raise RuntimeError(f"optimizer {name!r} takes no {what}, so a budget of {what} never ends")
        if report.info or self.recipe.info:
            self.recording.info = report.info | self.recipe.info
        self.recording.probe("step")
        if self.spent.step % self.steps_per_epoch == 0:
            self.recording.probe("epoch")

    def evaluate(self, last: bool) -> None:
        """Evaluate, and tell how far the training is."""
        self.recording.evaluate()
        total = self.meter.total
        self.progress(total if last else min(self.meter.used, total), total)

    def state(self) -> dict[str, Any]:
        """All that the steps to come and the results depend on."""
        it = self.it
        return {
            "step": self.spent.step,
            "recording": self.recording.state(),
            "module": it.module.state_dict(),
            "stepper": it.stepper.state_dict(),
            "counts": asdict(it.objective.counts),
            "recipe": self.recipe.state(),
            "random": random_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, of a training with equal parts. After an error this training is good for nothing."""
        it = self.it
        self.recipe.restore(state["recipe"])
        it.module.load_state_dict(state["module"])
        it.stepper.load_state_dict(state["stepper"])
        for name, count in state["counts"].items():
            setattr(it.objective.counts, name, count)
        self.recording.restore(state["recording"])
        set_random_state(state["random"])
        self.recording.resume()
