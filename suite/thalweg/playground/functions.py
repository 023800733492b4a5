"""Functions of two variables as problems, and their values on a grid.

Imports torch, so it is imported where functions are computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.contracts import Draw, LoadContext, LoadedProblem
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.landscape.evaluate import losses_at
from thalweg.landscape.points import flat
from thalweg.playground.choices import ARCHITECTURE, PLANE_SHAPE
from thalweg.playground.plane import plane_function
from thalweg.playground.requests import SIDE, Function, Ground, GroundRequest, Pair, Plane
from thalweg.registry import Registry
from thalweg.training.contained import contained

MARGIN = 2.0
"""The side of the picture over the side of the square that holds the start and the minima."""
LEAST_HALF = 1.0
"""The least half side of that square."""


def load_function(function: Function, registry: Registry) -> LoadedProblem:
    """The function in float64.

    Raises:
        UserError: the problem is not there, is no function of two variables, cannot be loaded, or has another loss at
            each step.
    """
    if isinstance(function, Plane):
        return plane_function(function)
    problem = registry.problem(function.problem)
    options = resolve(problem.options, function.options, problem.name)
    try:
        fits = problem.shape(options) == PLANE_SHAPE
        loaded = problem.load(options, LoadContext(torch.device("cpu"), torch.float64)) if fits else None
    except Exception as error:  # a plugin's mistake
        raise UserError(f"problem {problem.name!r}: {Failure.of(error).line}") from error
    if loaded is None:
        raise UserError(f"problem {problem.name!r} is no function of two variables with these options")
    if loaded.online:
        raise UserError(f"problem {problem.name!r} has another loss at each step, so there is no one picture of it")
    return loaded


def module_at_start(problem: LoadedProblem, registry: Registry, draw: Draw) -> nn.Module:
    """The variables of the function at the start that it declares."""
    architecture = registry.architecture(ARCHITECTURE)
    module = architecture.build(resolve(architecture.options, {}, architecture.name), PLANE_SHAPE).double()
    problem.initialize(module, draw)
    return module


def ground(request: GroundRequest, registry: Registry) -> Ground:
    """The values of a function around its start and its minima, on a square grid; of a plane, the plane's own grid.

    The square holds the start that is asked for, the start that the function declares, and the known minimizers.

    Raises:
        UserError: see ``load_function``; or the function has no finite value there.
    """
    with contained(threads=1):
        problem = load_function(request.function, registry)
        module = module_at_start(problem, registry, Draw(0, None))
        start = _pair(flat(module))
        if isinstance(request.function, Plane):
            plane = request.function
            return Ground(x=plane.x, y=plane.y, losses=plane.losses, start=start)
        minimizers = tuple(_pair(one) for one in getattr(problem, "minimizers", ()))
        x, y = _square([start, *minimizers, *([request.start] if request.start else [])])
        points = torch.cartesian_prod(y, x).flip(1)
        losses = values_at(problem, module, points).reshape(SIDE, SIDE)
        if not bool(losses.isfinite().any()):
            raise UserError("the function has no finite value around this start")
        minimum = getattr(problem, "minimum", None)
        return Ground(
            x=tuple(x.tolist()),
            y=tuple(y.tolist()),
            losses=tuple(map(tuple, losses.tolist())),
            start=start,
            minimizers=minimizers,
            minimum=None if minimum is None else float(minimum),
        )


def values_at(problem: LoadedProblem, module: nn.Module, points: Tensor) -> Tensor:
    """The loss (K,) at points (K, 2): in one pass where torch can map the function over points."""
    if isinstance(problem, AnalyticFunction):
        try:
            values: Tensor = torch.func.vmap(problem.f)(points)
            one_by_one = torch.stack([problem.f(point) for point in points[:: max(len(points) // 5, 1)]])
        except Exception:  # the function branches on its values
            pass
        else:
            if values.shape == points.shape[:1] and torch.allclose(
                values[:: max(len(points) // 5, 1)], one_by_one, rtol=1e-9, atol=1e-12, equal_nan=True
            ):
                return values
    return losses_at(module, problem, points, metrics=("loss",))["loss"]


def _pair(vector: Tensor) -> Pair:
    x, y = vector.detach().double().tolist()
    return x, y


def _square(inside: list[Pair]) -> tuple[Tensor, Tensor]:
    """The positions of the columns and the rows of a square grid around points."""
    at = torch.tensor(inside, dtype=torch.float64)
    low, high = at.min(0).values, at.max(0).values
    half = max(float((high - low).max()) / 2 * MARGIN, LEAST_HALF)
    steps = torch.linspace(-half, half, SIDE, dtype=torch.float64)
    middle = (low + high) / 2
    return middle[0] + steps, middle[1] + steps
