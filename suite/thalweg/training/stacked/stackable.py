"""Whether trials may train in a stack, by what components declare and by small experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Batch, BuildContext, Draw, LoadedProblem, Metric, Optimizer, Shape
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.precision import move
from thalweg.contracts.problem import Split
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.training.example import example_inputs
from thalweg.training.extent import check_extent
from thalweg.training.stacked.elementwise import compare, compare_shapes
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.together import is_known
from thalweg.trial import Trial

FLOPS = 3e7
"""Floating-point operations of a step's forward pass above which a trial trains alone: there is little to gain."""

NUMBERS = 500_000
"""Parameters above which a trial trains alone, for the memory of a stack."""

STEPS = 64
"""Steps of a foreign optimizer in a stack and alone, to compare. Some optimizers change their rule late."""

SHAPED_STEPS = 8
"""Further steps on weights of the network's shapes. An optimizer may treat large or many-dimensional tensors apart."""


def why_alone(trial: Trial, registry: Registry) -> str | None:
    """Why a trial trains alone; None where it trains in a stack.

    The answer depends on the trial alone, and not on what else is trained or on disk. No data is loaded.

    Raises:
        TooMuch: the network is larger than the limits allow.
    """
    return may_not(trial, registry) or _too_large(trial, registry) or _other_numbers(trial, registry)


def may_not(trial: Trial, registry: Registry) -> str | None:
    """Why the declarations of a trial's components keep it from a stack; None where they do not."""
    problem = registry.problem(trial.problem.name)
    if not problem.stacks:
        return f"problem {problem.name!r} does not declare that its examples can be stacked"
    optimizer = registry.optimizer(trial.optimizer.name)
    if not (optimizer.elementwise or optimizer.stacks):
        return f"optimizer {optimizer.name!r} is not elementwise"
    if not _stacks_what_it_builds(optimizer):
        return f"optimizer {optimizer.name!r} builds steppers of its own, and stacked ones that are another's"
    architecture = registry.architecture(trial.architecture.name)
    options = resolve(architecture.options, trial.architecture.settings, architecture.name)
    if architecture.draws_in_forward(options):
        return f"architecture {architecture.name!r} draws random numbers in its forward pass"
    if trial.budget.seconds is not None or trial.budget.gradient_evaluations is not None:
        return f"the budget of {trial.budget} is not one of epochs or steps"
    if trial.precision == "mixed-bfloat16":
        return "numbers of 8 bits do not agree within the tolerance of a stack"
    if trial.clip_norm is not None:
        return "gradients are clipped to a norm"
    lr = resolve(optimizer.options, trial.optimizer.settings, optimizer.name).get("lr")
    if trial.decoupled_weight_decay and (
        lr is None or not lr * trial.decoupled_weight_decay <= torch.finfo(getattr(torch, trial.dtype)).max
    ):
        return "weights decay by more than numbers can hold"
    return None


def _stacks_what_it_builds(optimizer: Optimizer) -> bool:
    """False where a class overrides ``build`` and inherits a ``build_stacked`` that does not know the override."""
    of_build, of_stacked = (
        next(cls for cls in type(optimizer).__mro__ if name in vars(cls)) for name in ("build", "build_stacked")
    )
    return of_stacked is Optimizer or issubclass(of_stacked, of_build)


def _built(trial: Trial, registry: Registry, seed: int) -> tuple[nn.Module, Shape]:
    architecture, shape = registry.architecture(trial.architecture.name), _shape(trial, registry)
    options = resolve(architecture.options, trial.architecture.settings, architecture.name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = architecture.build(options, shape)
    move(module, dtype=getattr(torch, trial.dtype))
    return module, shape


def _shape(trial: Trial, registry: Registry) -> Shape:
    problem = registry.problem(trial.problem.name)
    return problem.shape(resolve(problem.options, trial.problem.settings, problem.name))


def _too_large(trial: Trial, registry: Registry) -> str | None:
    architecture = registry.architecture(trial.architecture.name)
    options = resolve(architecture.options, trial.architecture.settings, architecture.name)
    check_extent(architecture, options, _shape(trial, registry), trial.problem.name)
    try:
        module, shape = _built(trial, registry, 0)
        problem = registry.problem(trial.problem.name)
        examples = problem.sizes(resolve(problem.options, trial.problem.settings, problem.name)).get("train", 0)
        batch = examples if trial.batch_size == "full" else trial.batch_size
        flops = _flops(module.eval(), _converted(example_inputs(shape, 1), module)) * batch
    except Exception as error:  # a plugin's mistake fails its own trials, which report it
        return f"the network cannot be looked at ({Failure.of(error).line})"
    numbers = sum(parameter.numel() for parameter in module.parameters())
    if flops > FLOPS:
        return f"a step of {flops:.2g} floating-point operations gains nothing in a stack"
    return f"{numbers} parameters are too many for a stack" if numbers > NUMBERS else None


def _flops(module: nn.Module, example: Tensor) -> int:
    """The approximate operations of a forward pass: two for each use of a number in a layer's weight.

    ``thalweg.training.size`` is exact, but its import takes longer than a small stack trains.
    """
    used: list[int] = []

    def count(layer: nn.Module, _: object, out: object) -> None:
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and isinstance(out, Tensor) and weight.dim() > 1:
            used.append(2 * weight.numel() * (out.numel() // weight.shape[0]))

    for layer in module.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        module(example)
    return sum(used)


def _converted(example: Tensor, module: nn.Module) -> Tensor:
    """An example in the module's precision; tokens are not converted."""
    floating = [parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()]
    return example.to(floating[0]) if floating and example.is_floating_point() else example


def _other_numbers(trial: Trial, registry: Registry) -> str | None:
    """How optimizer and network fail in a stack, or differ there from a trial alone; None where they do neither."""
    assert trial.stack is not None
    optimizer = registry.optimizer(trial.optimizer.name)
    settings = resolve(optimizer.options, trial.optimizer.settings, optimizer.name)
    several = [settings, settings]
    if trial.stack.rows and "lr" in settings:
        several = [settings, settings | {"lr": settings["lr"] / 2}]
    try:
        if reason := _is_not_elementwise(optimizer, several, trial, registry):
            return reason
        return _check_module(trial, registry, optimizer, several if trial.stack.rows else several[:1])
    except Exception as error:
        return f"in a stack they fail ({Failure.of(error).line})"


def _is_not_elementwise(
    optimizer: Optimizer, members: list[dict[str, Any]], trial: Trial, registry: Registry
) -> str | None:
    """Check a third party's ``elementwise = True``: its steps may depend on the shapes of weights after all."""
    if is_known(optimizer):
        return None
    if not optimizer.elementwise:
        return _steps_otherwise(optimizer, members, trial, registry)
    difference = compare(optimizer, members, STEPS, torch.float64)
    if difference < 1e-9:
        assert trial.stack is not None
        module, _ = _built(trial, registry, 0)
        shapes = [parameter.shape for parameter in module.parameters() if parameter.requires_grad]
        many = [members[index % 2] for index in range(trial.stack.size)]
        difference = compare_shapes(optimizer, many, shapes, SHAPED_STEPS)
    if difference < 1e-9:
        return None
    return f"optimizer {optimizer.name!r} is not elementwise: weights in a stack are {difference:.2g} off"


def _steps_otherwise(
    optimizer: Optimizer, members: list[dict[str, Any]], trial: Trial, registry: Registry
) -> str | None:
    """Check a third party's ``stacks = True`` on the trial's network, in float64 on both sides."""
    built = [_built(trial, registry, seed) for seed in range(2)]
    modules, shape = [module.double().train() for module, _ in built], built[0][1]
    examples = [_converted(example_inputs(shape, 4) + seed, modules[0]) for seed in range(2)]
    stacked = StackedModule(modules, 2)
    problems: list[LoadedProblem] = [_Outputs(example.unsqueeze(0)) for example in examples]
    context = BuildContext(0, 4, 4)
    steppers = [optimizer.build(module, one, context) for module, one in zip(modules, members, strict=True)]
    single = [
        Objective(_Alone(module), problem, Draw(0, None)) for module, problem in zip(modules, problems, strict=True)
    ]
    whole = Objective(stacked, _Outputs(torch.stack(examples)), Draw(0, None))
    together = optimizer.build_stacked(stacked, members, context)
    for step in range(SHAPED_STEPS):
        for objective, stepper in [*zip(single, steppers, strict=True), (whole, together)]:
            objective.begin_step(objective.problem.batch("train", step, Draw(0, None)), step)
            stepper.step(objective)
    difference = max(
        float((stacked.pieces[name].value[index] - parameter).abs().max())
        for index, module in enumerate(modules)
        for name, parameter in module.named_parameters()
    )
    if difference < 1e-9:
        return None
    return f"optimizer {optimizer.name!r} steps otherwise in a stack: weights are {difference:.2g} off"


class _Alone(nn.Module):
    """A module that maps (1, N, ...) to (1, N, ...)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x.squeeze(0)).unsqueeze(0)
        return out


def _check_module(trial: Trial, registry: Registry, optimizer: Optimizer, members: list[dict[str, Any]]) -> str | None:
    """Check that the outputs of a stack of two members agree with theirs to rounding, and that the stack can step."""
    (first, shape), (second, _) = (_built(trial, registry, seed) for seed in range(2))
    modules = [first.train(), second.train()]
    example = _converted(example_inputs(shape, 4), modules[0])
    stacked = StackedModule(modules, len(members))
    problem = _Outputs(torch.stack([example, example]))
    objective = Objective(stacked, problem, Draw(0, None))
    objective.begin_step(problem.batch("train", 0, Draw(0, None)), 0)
    with torch.no_grad():
        together = stacked(problem.stack).detach().clone()
        apart = torch.stack([module(example) for module in modules])
    if together.shape != apart.shape:
        return f"in a stack outputs have the shape {tuple(together.shape)} and not {tuple(apart.shape)}"
    scale = float(apart.abs().nan_to_num(0, 0, 0).max())
    close = 1e-3 if apart.dtype == torch.float32 else 1e-8
    if not torch.allclose(together, apart, rtol=close, atol=close * scale, equal_nan=True):
        return f"in a stack outputs are up to {float((together - apart).abs().max()):.2g} off"
    optimizer.build_stacked(stacked, members, BuildContext(0, 4, 4)).step(objective)
    return None


class _Outputs(LoadedProblem):
    """The mean square of a stack's outputs, summed over its members."""

    metrics = (Metric("loss", "lower", "log"),)

    def __init__(self, stack: Tensor) -> None:
        self.stack = stack
        self.sizes: Mapping[str, int] = {"train": stack.shape[1]}

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        return Batch(self.stack, None, self.stack.shape[1])

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        loss: Tensor = module(batch.inputs).square().flatten(1).mean(1).sum()
        return loss

    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        raise NotImplementedError("nothing is evaluated here")
