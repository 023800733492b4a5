"""The hooks of thalweg. A plugin implements any hooks and marks each with ``@thalweg.hookimpl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from thalweg.contracts.register import RegisterOptimizer
    from thalweg.outcome import RunReport, TrialResult
    from thalweg.trial import Trial

hookspec = pluggy.HookspecMarker("thalweg")


class Register(Protocol):
    """Takes a component (a class or an instance), checks it against its contract and refuses a name already taken."""

    def __call__(self, component: Any, /, **settings: Any) -> None:
        """Register one component."""

    def note(self, text: str) -> None:
        """Add a line about the plugin to ``thalweg plugins``, such as which package is missing; no error."""

    def absent(self, name: str, reason: str) -> None:
        """Say why a component of this name is not registered here; who asks for the name reads the reason."""


@hookspec
def thalweg_register_optimizers(register: RegisterOptimizer) -> None:
    """Register optimizers: ``register(MyOptimizer)``, or a bare torch class: ``register(MyTorchOptimizer, lr=0.1)``."""


@hookspec
def thalweg_register_architectures(register: Register) -> None:
    """Register architectures: ``register(MyArchitecture)``."""


@hookspec
def thalweg_register_problems(register: Register) -> None:
    """Register problems: ``register(MyProblem)``."""


@hookspec
def thalweg_register_probes(register: Register) -> None:
    """Register probes: ``register(MyProbe)``."""


@hookspec
def thalweg_register_claims(register: Register) -> None:
    """Register claims: ``register(MyClaim)``."""


@hookspec
def thalweg_register_benchmarks(register: Register) -> None:
    """Register benchmarks: ``register(Path(__file__).parent / "mine.toml")``; the file's stem is the name."""


@hookspec
def thalweg_register_executors(register: Register) -> None:
    """Register executors: ``register(MyExecutor)``."""


@hookspec
def thalweg_register_importers(register: Register) -> None:
    """Register importers of other programs' runs: ``register(MyImporter)``."""


@hookspec
def thalweg_trial_started(trial: Trial) -> None:
    """A trial is about to be trained; called in the process that trains it."""


@hookspec
def thalweg_evaluation_started(trial: Trial, step: int) -> None:
    """A trial is about to be evaluated after ``step`` steps; called in the process that trains it."""


@hookspec
def thalweg_evaluation_finished(trial: Trial, step: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """A trial has been evaluated after ``step`` steps; called in the process that trains it.

    ``metrics`` has the values of each split by metric: ``metrics["valid"]["accuracy"]``. The test split is evaluated
    once, after the last step, at the weights that validation selects; ``step`` is then the step of those weights.
    """


@hookspec
def thalweg_trial_finished(trial: Trial, result: TrialResult) -> None:
    """A trial has ended (done, diverged or failed) and its results are saved; called in the process that trained it."""


@hookspec
def thalweg_run_finished(run: RunReport) -> None:
    """A run has ended; called once, in the process that started it."""
