"""Checks of architectures."""

from __future__ import annotations

import torch
from torch import nn

from thalweg.contracts import Shape
from thalweg.contracts.derivatives import ONCE, WRONG_IN_WEIGHTS, check_differentiable, twice_differentiable
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
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


def fits_something_and_says_why_not(registry: Registry, name: str) -> None:
    """At least one shape fits, and ``misfit`` gives a reason for every other shape."""
    architecture = registry.architecture(name)
    reasons = [architecture.misfit(resolve(architecture.options, {}, name), shape) for shape in SHAPES]
    assert None in reasons, f"no shape fits: {reasons}"
    assert all(reason is None or len(reason) > 10 for reason in reasons), reasons


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
        assert output.shape == expected, f"output {tuple(output.shape)}, expected {expected} for {shape}"
        output.square().sum().backward()
        missing = [label for label, parameter in module.named_parameters() if parameter.grad is None]
        assert not missing, f"no gradient reaches {missing}"


def starts_from_the_seed(registry: Registry, name: str) -> None:
    """Equal seeds give equal initial weights, different seeds different weights, unless the problem sets the start."""
    for shape in SHAPES:
        modules = [_built(registry, name, shape, seed) for seed in (0, 0, 1)]
        weights = [list(module.parameters()) for module in modules if module is not None]
        if weights:
            repeats = same(weights[0], weights[1])  # type: ignore[arg-type]
            assert repeats, f"expected one seed to give equal initial weights twice, and they differ, for {shape}"
            others = shape.task == "function" or not same(weights[0], weights[2])  # type: ignore[arg-type]
            assert others, f"expected two seeds to give different initial weights, and they are equal, for {shape}"


def repeats_its_output(registry: Registry, name: str) -> None:
    """In evaluation mode the output is a function of the input; in training mode too, unless draws are declared."""
    architecture = registry.architecture(name)
    draws = architecture.draws_in_forward(resolve(architecture.options, {}, name))
    for shape in SHAPES:
        module = _built(registry, name, shape, 0)
        if module is None or shape.task == "function":
            continue
        x = example_inputs(shape, 4)
        for mode in (False,) if draws else (False, True):
            module.train(mode)
            assert torch.equal(module(x), module(x)), f"two outputs for one input, training {mode}, for {shape}"


def leaves_its_input_alone(registry: Registry, name: str) -> None:
    """The forward pass does not write into its input, which is part of the data set."""
    for shape in SHAPES:
        module = _built(registry, name, shape, 0)
        if module is None or shape.task == "function":
            continue
        x = example_inputs(shape, 4)
        for mode in (False, True):
            module.train(mode)(x)
            unchanged = torch.equal(x, example_inputs(shape, 4))
            assert unchanged, f"expected the forward pass to leave its input alone, and the input changed, for {shape}"


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
    leaves_its_input_alone,
    can_be_differentiated_twice,
)
