"""Whether trials may train in a stack, by what components declare and by small experiments."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thalweg.contracts import Batch, BuildContext, Draw, Metric, Optimizer, Shape
from thalweg.contracts.copies import copied, tensors_held
from thalweg.contracts.losses import SquaredError
from thalweg.contracts.objective import Objective, kept_buffers
from thalweg.contracts.option import resolve
from thalweg.contracts.precision import move
from thalweg.contracts.supervised import Supervised
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.training.example import example_inputs
from thalweg.training.extent import check_extent
from thalweg.training.stacked.agreement import STEPS as COMPARED
from thalweg.training.stacked.agreement import disagreement, is_watched
from thalweg.training.stacked.elementwise import compare, compare_shapes
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.objective import StackedObjective
from thalweg.training.stacked.problem import StackedProblem
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
    if trial.optimizer.found:
        return f"optimizer {optimizer.name!r} needs more than gradients ({', '.join(sorted(trial.optimizer.found))})"
    if not _stacks_what_it_builds(optimizer):
        return f"optimizer {optimizer.name!r} builds steppers of its own, and stacked ones that are another's"
    architecture = registry.architecture(trial.architecture.name)
    options = resolve(architecture.options, trial.architecture.settings, architecture.name)
    if architecture.draws_in_forward(options):
        return f"architecture {architecture.name!r} draws random numbers in its forward pass"
    if trial.budget.epochs is None and trial.budget.steps is None:
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
    problem = registry.problem(trial.problem.name)
    try:
        examples = problem.sizes(resolve(problem.options, trial.problem.settings, problem.name)).get("train", 0)
    except (Exception, SystemExit) as error:  # a plugin's mistake fails its own trials, which report it
        return f"the network cannot be looked at ({Failure.of(error).line})"
    if _network(trial) not in _SIZES:
        check_extent(architecture, options, _shape(trial, registry), trial.problem.name)
        _SIZES[_network(trial)] = _size(trial, registry)
    size = _SIZES[_network(trial)]
    if isinstance(size, str):
        return size
    flops = size.flops * (examples if trial.batch_size == "full" else trial.batch_size)
    if flops > FLOPS:
        return f"a step of {flops:.2g} floating-point operations gains nothing in a stack"
    return f"{size.numbers} parameters are too many for a stack" if size.numbers > NUMBERS else None


class _Size(NamedTuple):
    flops: int
    """Approximate operations of a forward pass of one example."""
    numbers: int
    """Parameters."""


def _size(trial: Trial, registry: Registry) -> _Size | str:
    """A network's size, or why it cannot be looked at."""
    try:
        module, shape = _built(trial, registry, 0)
        flops = _flops(module.eval(), _converted(example_inputs(shape, 1), module))
    except (Exception, SystemExit) as error:  # a plugin's mistake fails its own trials, which report it
        return f"the network cannot be looked at ({Failure.of(error).line})"
    return _Size(flops, sum(parameter.numel() for parameter in module.parameters()))


def _network(trial: Trial) -> tuple[str, str, str]:
    """What determines a trial's network. All optimizers and settings of a workload share it."""
    return trial.problem.model_dump_json(), trial.architecture.model_dump_json(), trial.dtype


_SIZES: dict[tuple[str, str, str], _Size | str] = {}
"""The sizes of networks, by ``_network``."""


def _flops(module: nn.Module, example: Tensor) -> int:
    """The approximate operations of a forward pass: two for each use of a number in a layer's weight.

    ``thalweg.training.flops`` is exact. This number decides what trains in a stack, so it stays as it is.
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
    except NotImplementedError as error:
        return str(error)
    except (Exception, SystemExit) as error:
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
    modules = [module.double().train() for module, _ in built]
    problem, batches = _squares(built[0][1], modules)
    context, draws = BuildContext(0, 4, 4), [Draw(0, None)] * 2
    stacked = StackedModule(modules, 2)
    whole = StackedObjective(stacked, StackedProblem(problem, draws), draws[0], new_gradients=True)
    together = optimizer.build_stacked(stacked, members, context)
    single = [Objective(module, problem, draws[0]) for module in modules]
    steppers = [optimizer.build(module, one, context) for module, one in zip(modules, members, strict=True)]
    inputs, targets = (torch.stack([getattr(batch, part) for batch in batches]) for part in ("inputs", "targets"))
    for step in range(STEPS):
        whole.begin_step(Batch(inputs, targets, 4), step)
        together.step(whole)
        for objective, stepper, batch in zip(single, steppers, batches, strict=True):
            objective.begin_step(batch, step)
            stepper.step(objective)
    difference = max(
        float(
            (stacked.pieces[name].value[index] - parameter.detach()).abs().max() / (1 + parameter.detach().abs().max())
        )
        for index, module in enumerate(modules)
        for name, parameter in module.named_parameters()
    )
    if difference < 1e-6:
        return None
    return f"optimizer {optimizer.name!r} steps otherwise in a stack: weights are {difference:.2g} off"


def _squares(shape: Shape, modules: list[nn.Module]) -> tuple[Supervised, list[Batch]]:
    """Squared errors of made-up targets, as a problem, and a batch of four examples for each module."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for module in modules:
        inputs = _converted(example_inputs(shape, 4), module)
        if inputs.is_floating_point():
            inputs = inputs + torch.randn(inputs.shape, generator=generator).to(inputs)
        with torch.no_grad(), kept_buffers(module):
            outputs = module(inputs)
        targets = outputs.detach() + torch.randn(outputs.shape, generator=generator).to(outputs)
        batches.append(Batch(inputs, targets, 4))
    data = torch.cat([batches[0].inputs]), torch.cat([batches[0].targets])  # type: ignore[list-item]
    return Supervised({"train": data}, SquaredError(), (Metric("loss", "lower", "log"),)), batches


def _check_module(trial: Trial, registry: Registry, optimizer: Optimizer, members: list[dict[str, Any]]) -> str | None:
    """Check that a stack of two members computes what they compute alone, and that it can step."""
    built = [_built(trial, registry, seed) for seed in range(2)]
    modules = [module.train() for module, _ in built]
    if any(is_watched(module) for module in modules):
        return "a hook watches a parameter of the network"
    problem, batches = _squares(built[0][1], modules)
    if _network(trial) not in _WAYS:
        _WAYS[_network(trial)] = _way(modules, problem, [[batch] * COMPARED for batch in batches])
    direct, wrong = _WAYS[_network(trial)]
    if wrong is not None:
        return wrong
    draws = [Draw(0, None)] * 2
    stacked = StackedModule(modules, len(members), direct)
    objective = StackedObjective(stacked, StackedProblem(problem, draws), draws[0])
    inputs, targets = (torch.stack([getattr(batch, part) for batch in batches]) for part in ("inputs", "targets"))
    objective.begin_step(Batch(inputs, targets, 4), 0)
    optimizer.build_stacked(stacked, members, BuildContext(0, 4, 4)).step(objective)
    for error, _ in objective.errors.values():
        raise error
    return None


_WAYS: dict[tuple[str, str, str], tuple[bool, str | None]] = {}
"""What ``_way`` found of networks, by ``_network``."""


def _way(modules: list[nn.Module], problem: Supervised, batches: list[list[Batch]]) -> tuple[bool, str | None]:
    """Whether a stack of a network runs directly, and else why no stack is of use, if none is."""
    if changed := _changing(modules[0], batches[0][0].inputs):
        return False, f"the network changes its attribute {changed!r} in a call or between its modes"
    if _agrees(modules, problem, batches, direct=True) is None:
        return True, None
    return False, _agrees(modules, problem, batches, direct=False)


def _changing(module: nn.Module, inputs: Tensor | None) -> str | None:
    """An attribute that a call in each mode, or the change of mode, leaves otherwise; None where there is no such one.

    A stack calls one module for all its members, and more or less often than each member calls its own.
    """
    assert inputs is not None
    module = copied(module).train()
    before = _attributes(module)
    with torch.no_grad(), kept_buffers(module):
        for training in (True, False):
            module.train(training)(inputs)
    after = _attributes(module.train())
    return next((name for name, value in after.items() if value != before.get(name)), None)


def _attributes(module: nn.Module) -> dict[str, str]:
    """All attributes of a network's parts that are no tensors and no parts, as text."""
    return {
        f"{prefix}.{name}" if prefix else name: repr(value)
        for prefix, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in ("_parameters", "_buffers", "_modules") and next(tensors_held(value), None) is None
    }


def _agrees(modules: list[nn.Module], problem: Supervised, batches: list[list[Batch]], direct: bool) -> str | None:
    """Why a stack of a network is of no use; None where it is."""
    try:
        wrong = disagreement(modules, problem, batches, direct)
    except (Exception, SystemExit) as error:
        return f"in a stack the network fails ({Failure.of(error).line})"
    return wrong and f"a stack computes {wrong} otherwise than the network alone"
