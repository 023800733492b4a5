"""Whether the parts of a workload, and an optimizer with a workload, go together: asked before anything trains."""

from __future__ import annotations

from thalweg.benchmark_file import WorkloadSpec
from thalweg.contracts import Shape
from thalweg.contracts.option import resolve
from thalweg.contracts.problem import held_out
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.limits import BYTES
from thalweg.refs import UserFiles
from thalweg.registry import Registry
from thalweg.trial import Trial


def checked_shape(spec: WorkloadSpec, registry: Registry, files: UserFiles, where: str) -> Shape:
    """The shape of a workload's problem, once problem, architecture and validation share are known to fit.

    Args:
        spec: the workload, as the benchmark file declares it.
        registry: where the components are.
        files: finds the files that options name.
        where: the file and key that an error names.

    Raises:
        UserError: the parts do not fit, an option is wrong, or the data is larger than the limit.
    """
    problem = registry.problem(spec.problem.name, f"{where}.problem")
    architecture = registry.architecture(spec.architecture.name, f"{where}.architecture")
    options = resolve(
        problem.options, files.located(problem, spec.problem.options, f"{where}.problem"), f"{where}.problem"
    )
    key = f"{where}.problem: {problem.name!r}"
    try:
        shape, sizes, memory = problem.shape(options), problem.sizes(options), problem.memory(options)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    except Exception as error:  # a plugin's mistake
        raise UserError(f"{key}: {Failure.of(error).line}") from error
    BYTES.check(memory, key)
    settings = files.located(architecture, spec.architecture.options, f"{where}.architecture")
    reason = architecture.misfit(resolve(architecture.options, settings, f"{where}.architecture"), shape)
    if reason:
        raise UserError(f"{where}: architecture {architecture.name!r} does not fit {problem.name!r}: {reason}")
    n = sizes.get("train")
    if n is not None and n - held_out(n, spec.validation_fraction) < 1:
        share = f"validation_fraction = {spec.validation_fraction:g}"
        raise UserError(f"{where}: {share} of {n} training examples leaves none to train on")
    return shape


def check_optimizer(trial: Trial, registry: Registry, shape: Shape, file: str, pair: str) -> None:
    """Check that an optimizer can train a problem of this shape, with the trial's recipe and on its device.

    Args:
        trial: a trial of the pair.
        registry: where the optimizer is.
        shape: the problem's.
        file: the benchmark file that an error names.
        pair: ``workload.optimizer``, for an error.

    Raises:
        UserError: the optimizer cannot, and why.
    """
    if trial.device == "mps" and trial.dtype == "float64":
        hint = "--only workload=... leaves workloads out"
        raise UserError(f"{file}: {pair}: 'mps' has no float64, which its dtype is; {hint}")
    optimizer = registry.optimizer(trial.optimizer.name)
    where = f"{file}: {pair}: optimizer {optimizer.name!r}"
    try:
        reason = optimizer.misfit(resolve(optimizer.options, trial.optimizer.settings, where), shape)
    except Exception as error:  # a plugin's mistake
        raise UserError(f"{where}: its misfit() failed: {Failure.of(error).line}") from error
    if reason:
        hint = "; --only workload=... or --only optimizer=... leaves pairs out"
        raise UserError(f"{where} does not fit {trial.problem.name!r}: {reason}{hint}")
    if not optimizer.has_lr and not trial.schedule.is_constant:
        raise UserError(f"{where} has no learning rate that follows a schedule: schedule = 'constant' leaves it alone")
    if not optimizer.has_lr and trial.decoupled_weight_decay:
        what = "has no learning rate, which decoupled decay is scaled by: decoupled_weight_decay = 0.0 leaves it out"
        raise UserError(f"{where} {what}")
    if trial.clip_norm is not None and not optimizer.takes_any_gradient:
        raise UserError(f"{where} needs its gradients as they are: clip_norm = inf leaves them so")
    if trial.decoupled_weight_decay and not optimizer.takes_decoupled_decay:
        what = "keeps its weights to itself: decoupled_weight_decay = 0.0 leaves them alone"
        raise UserError(f"{where} {what}, and its own hyperparameters may have a decay")
