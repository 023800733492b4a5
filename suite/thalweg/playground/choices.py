"""Which problems, optimizers and learning rates the playground offers. Nothing here imports torch."""

from __future__ import annotations

import math
from typing import Any

from thalweg.benchmark_file import parse
from thalweg.contracts import Hyperparameter, Optimizer, Problem, Shape
from thalweg.contracts.option import bounds, resolve
from thalweg.errors import UserError
from thalweg.playground.requests import Analytic
from thalweg.registry import Registry

PLANE_SHAPE = Shape("function", (), (2,))
"""A function of two variables."""

ARCHITECTURE = "point"
"""The architecture whose weights are the variables of a function."""

PER_DECADE = 20
"""Learning rates in a decade of a slider: neighbours differ by a factor of 1.12."""


def functions_of(registry: Registry) -> dict[str, Analytic]:
    """The problems that are functions of two variables, by their names.

    A problem is taken with its defaults. Where these give another number of variables, one whole-number option is set
    to 2, such as ``dim``, if that gives two variables.
    """
    found = {}
    for entry in registry.in_order("problems"):
        problem: Problem = entry.component
        tries: list[dict[str, Any]] = [{}, *({one.name: 2} for one in problem.options if one.kind == "int")]
        options = next((given for given in tries if _has_two_variables(problem, given)), None)
        if options is not None:
            found[entry.name] = Analytic(problem=entry.name, options=options)
    return found


def _has_two_variables(problem: Problem, given: dict[str, Any]) -> bool:
    try:
        return problem.shape(resolve(problem.options, given, problem.name)) == PLANE_SHAPE
    except UserError:
        return False
    except Exception:  # a plugin's mistake, which a run of it tells
        return False


def optimizers_of(registry: Registry) -> dict[str, Optimizer]:
    """The optimizers that can train a function of two variables, by their names; built-ins come first."""
    found = {}
    for entry in registry.in_order("optimizers"):
        optimizer: Optimizer = entry.component
        try:
            fits = optimizer.misfit(resolve(optimizer.options, {}, entry.name), PLANE_SHAPE) is None
        except Exception:  # a plugin's mistake, which a run of it tells
            fits = False
        if fits:
            found[entry.name] = optimizer
    return found


def benchmark_rates(registry: Registry) -> dict[tuple[str, str], float]:
    """The learning rates that registered benchmarks give optimizers on functions, by problem and optimizer.

    Where several benchmarks give one, the rate of the one that was registered first counts.
    """
    found: dict[tuple[str, str], float] = {}
    for entry in registry.in_order("benchmarks"):
        try:
            spec = parse(entry.component.read_text(encoding="utf-8"), entry.name)
        except (OSError, ValueError, UserError):  # a run of it tells
            continue
        for workload, table in spec.overrides.items():
            parts = spec.workloads[workload]
            for label, override in table.items():
                lr = override.options.get("lr")
                if parts.architecture.name == ARCHITECTURE and isinstance(lr, int | float) and lr > 0:
                    found.setdefault((parts.problem.name, spec.optimizers[label].optimizer or label), float(lr))
    return found


def rates_of(optimizer: Optimizer, first: float | None = None) -> tuple[tuple[str, ...], str] | None:
    """The learning rates of a slider from low to high, and the one it begins with; None without a learning rate.

    Args:
        optimizer: whose rates they are.
        first: the rate to begin with; None: the optimizer's default.

    The rates run over the range that tuning searches; without one, over two decades on either side of the default. The
    range is widened to the default and to ``first``, and cut to what the optimizer allows. The rates are evenly spaced
    on a log scale, rounded to three digits, with the ends of the range, the default and ``first`` among them.

    >>> class Fixed(Optimizer):
    ...     options = (Hyperparameter("lr", 1.0, "(0, 1]"),)
    ...     build = None
    >>> rates, default = rates_of(Fixed())
    >>> rates[0], rates[1], rates[-1], default
    ('0.01', '0.0112', '1', '1')
    """
    option = next((one for one in optimizer.options if one.name == "lr"), None)
    if not optimizer.has_lr or option is None or not option.default > 0:
        return None
    default = float(option.default)
    begin = default if first is None else first
    low, high = _range(option)
    low, high = min(low, begin), max(high, begin)
    first, last = math.ceil(PER_DECADE * math.log10(low)), math.floor(PER_DECADE * math.log10(high))
    rates = {float(f"{10 ** (place / PER_DECADE):.3g}") for place in range(first, last + 1)} | {
        low,
        default,
        begin,
        high,
    }
    allowed = []
    for rate in sorted(rates):
        try:
            option.check(rate, "lr")
        except UserError:
            continue
        allowed.append(f"{rate:.12g}")
    return tuple(allowed), f"{begin:.12g}"


def _range(option: Hyperparameter) -> tuple[float, float]:
    """The two ends of a slider."""
    default = float(option.default)
    if option.search is not None and option.search.low > 0:
        return min(option.search.low, default), max(option.search.high, default)
    high = bounds(option.allowed)[1] if isinstance(option.allowed, str) else math.inf
    return default / 100, min(100 * default, max(high, default))
