"""Checks of architectures."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from thalweg.contracts import Shape
from thalweg.contracts.derivatives import ONCE, WRONG_IN_WEIGHTS, check_differentiable, twice_differentiable
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
from thalweg.testing.others import contract
from thalweg.testing.small import same
from thalweg.training.example import example_inputs

SHAPES = (
    Shape("classification", (64,), (10,)),
    Shape("classification", (1, 8, 8), (10,)),
    Shape("classification", (1, 40), (10,)),
    Shape("classification", (1, 28, 28), (10,)),
    Shape("classification", (3, 32, 32), (10,)),
    Shape("regression", (5,), (2,)),
    Shape("autoencoding", (64,), (64,)),
    Shape("language", (16,), (16, 30)),
    Shape("function", (), (7,)),
)


def _built(registry: Registry, name: str, shape: Shape, seed: int) -> nn.Module | None:
    architecture = registry.architecture(name)
    options = resolve(architecture.options, {}, name)
    if architecture.misfit(options, shape):
        return None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return architecture.build(options, shape)


def _networks(registry: Registry, name: str) -> Iterator[tuple[Shape, nn.Module]]:
    """A network for each shape with inputs that fits.

    Raises:
        DoesNotApply: only functions fit.
    """
    found = 0
    for shape in SHAPES:
        module = None if shape.task == "function" else _built(registry, name, shape, 0)
        if module is not None:
            found += 1
            yield shape, module
    if not found:
        raise DoesNotApply("it has no inputs")


@condition(
    finds="a `misfit` without a reason, and an architecture that fits nothing",
    means="a benchmark is refused without a reason, or fails while it trains",
)
def fits_something_and_says_why_not(registry: Registry, name: str) -> None:
    """At least one shape fits, and ``misfit`` gives a reason for every other shape."""
    architecture = registry.architecture(name)
    reasons = [architecture.misfit(resolve(architecture.options, {}, name), shape) for shape in SHAPES]
    expect(None in reasons, "a shape that fits", f"none does: {reasons}")
    short = [reason for reason in reasons if reason is not None and len(reason) <= 10]
    expect(not short, "a reason in words for every shape that does not fit", f"{short}")


@condition(
    finds="outputs of another shape than the problem's, and parameters that no gradient reaches",
    means="trials fail, or part of the network is not trained",
)
def gives_outputs_of_the_shape(registry: Registry, name: str) -> None:
    """For every shape that fits, the output has the problem's shape, and gradients reach every parameter."""
    for shape in SHAPES:
        module = _built(registry, name, shape, 0)
        if module is None:
            continue
        if shape.task == "function":
            output, expected = module(), shape.output
        else:
            output, expected = module(example_inputs(shape, 4)), (4, *shape.output)
        expect(tuple(output.shape) == expected, f"an output of shape {expected} for {shape}", f"{tuple(output.shape)}")
        output.square().sum().backward()
        missing = [label for label, parameter in module.named_parameters() if parameter.grad is None]
        expect(not missing, f"a gradient for every parameter, for {shape}", f"none reaches {missing}")


@condition(
    finds="initial weights that the seed does not decide",
    means="a trial cannot be repeated, or all seeds start from one point and intervals are too short",
)
def starts_from_the_seed(registry: Registry, name: str) -> None:
    """Equal seeds give equal initial weights, different seeds different weights, unless the problem sets the start."""
    for shape in SHAPES:
        modules = [_built(registry, name, shape, seed) for seed in (0, 0, 1)]
        weights = [[*module.parameters()] for module in modules if module is not None]
        if weights:
            repeats = same(weights[0], weights[1])  # type: ignore[arg-type]
            expect(repeats, f"one seed to give equal initial weights twice, for {shape}", "they differ")
            others = shape.task == "function" or not same(weights[0], weights[2])  # type: ignore[arg-type]
            expect(others, f"two seeds to give different initial weights, for {shape}", "they are equal")


@condition(
    finds="outputs that draw random numbers without a declaration, or depend on calls before",
    means="a trial depends on when it was evaluated, and a resumed trial differs from an uninterrupted one",
)
def repeats_its_output(registry: Registry, name: str) -> None:
    """In evaluation mode the output is a function of the input; in training mode too, unless draws are declared."""
    architecture = registry.architecture(name)
    draws = architecture.draws_in_forward(resolve(architecture.options, {}, name))
    for shape, module in _networks(registry, name):
        x = example_inputs(shape, 4)
        for mode in (False,) if draws else (False, True):
            module.train(mode)
            equal = torch.equal(module(x), module(x))
            kind = "training" if mode else "evaluation"
            hint = "draws_in_forward declares dropout and other draws" if mode else ""
            expect(equal, f"one output for one input in {kind} mode, for {shape}", "two outputs that differ", hint)


@condition(
    finds="outputs of an example that depend on the other examples of an evaluation",
    means="metrics depend on the size of the batches that thalweg evaluates",
)
def evaluates_each_example_alone(registry: Registry, name: str) -> None:
    """In evaluation mode an example has the same output alone and among others, to 1e-5 of the output."""
    for shape, module in _networks(registry, name):
        inputs = example_inputs(shape, 4)
        x = inputs.double() if inputs.is_floating_point() else inputs
        module.double().eval()
        with torch.no_grad():
            together, alone = module(x), torch.cat([module(x[index : index + 1]) for index in range(4)])
        apart = float((together - alone).abs().max() / together.abs().max().clamp(min=1e-300))
        expect(
            apart <= 1e-5,
            f"the outputs of four examples evaluated one by one, for {shape}",
            f"outputs that differ by {apart:.2g} of the largest",
        )


@condition(
    finds="a network that computes float64 inputs with float64 weights in another precision",
    means="float64 trials fail, or have the errors of float32",
)
def computes_in_the_precision_of_its_weights(registry: Registry, name: str) -> None:
    """A network of float64 weights computes float64 outputs, which differ from a float32 network's by rounding only.

    The float64 outputs must have digits that float32 does not have.
    """
    for shape, module in _networks(registry, name):
        inputs = example_inputs(shape, 4)
        module.double().eval()
        with torch.no_grad():
            output = module(inputs.double() if inputs.is_floating_point() else inputs)
        word = str(output.dtype).removeprefix("torch.")
        expect(output.dtype == torch.float64, f"outputs in float64 of weights in float64, for {shape}", word)
        rounded = bool(output.any()) and torch.equal(output.float().double(), output)
        digits = "outputs with the digits of float64"
        expect(not rounded, f"{digits}, for {shape}", "every output is a number of float32")


@condition(
    finds="a forward pass that writes into its input",
    means="the network changes the data set, and trials of other optimizers see other data",
)
def leaves_its_input_alone(registry: Registry, name: str) -> None:
    """The forward pass does not write into its input, which is part of the data set."""
    for shape, module in _networks(registry, name):
        x = example_inputs(shape, 4)
        for mode in (False, True):
            module.train(mode)(x)
            unchanged = torch.equal(x, example_inputs(shape, 4))
            expect(unchanged, f"an input that the forward pass leaves alone, for {shape}", "the input has changed")


@condition(
    finds="operations without a second derivative, or with a wrong one",
    means="probes of curvature and second-order methods fail on this network",
)
def can_be_differentiated_twice(registry: Registry, name: str) -> None:
    """The Hessian has products with vectors, as probes and second-order methods need.

    The check computes attention and weight normalisation by their plain formulas, as probes and methods do.
    """
    for shape in SHAPES:
        module = _built(registry, name, shape, 0)
        if module is None:
            continue
        with twice_differentiable():
            output = module() if shape.task == "function" else module(example_inputs(shape, 2))
        parameters = list(module.parameters())
        gradients = torch.autograd.grad(output.square().sum(), parameters, create_graph=True, materialize_grads=True)
        check_differentiable(gradients, ONCE | WRONG_IN_WEIGHTS)
        inner = torch.stack([gradient.sum() for gradient in gradients]).sum()
        torch.autograd.grad(inner, parameters, materialize_grads=True)


CHECKS = (
    contract,
    fits_something_and_says_why_not,
    gives_outputs_of_the_shape,
    starts_from_the_seed,
    repeats_its_output,
    evaluates_each_example_alone,
    computes_in_the_precision_of_its_weights,
    leaves_its_input_alone,
    can_be_differentiated_twice,
)
