"""Finds out by first steps on a small network what a foreign optimizer class needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.contracts import BuildContext, Draw, Optimizer
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.errors import Diverged
from thalweg.failure import Failure
from thalweg.training.randomness import seeded

Found = dict[str, bool | str]

STEPS = 3
_BATCH = 16

_BOTH: Found = {"closure": "with gradients"}

_ORDER: tuple[Found, ...] = (
    {},
    {"create_graph": True},
    {"closure": True},
    {"closure": "with gradients"},
    {"closure": True, "create_graph": True},
    {"closure": "with gradients", "create_graph": True},
)
"""What is tried, in order of its cost. The first that works is taken."""


class NothingWorksError(Exception):
    """No convention lets the class make its first steps; the message is the error of a plain class."""


def find_conventions(optimizer: Optimizer) -> Found:
    """The conventions of a class that differ from a plain class's.

    A class that needs a closure, or gradients with their graph, fails without. So the class makes three steps on a
    small network, under each convention in turn, until the steps work. Two needs show otherwise:

    - A class that works with a closure may read gradients in place too, as sharpness-aware methods do. Then its
      weights differ when it gets both, and it gets both.
    - Methods ``train`` and ``eval`` of another meaning fail when they are called, and are not called.

    A class that works without a convention and then does less cannot be told from a plain class.

    Raises:
        NothingWorksError: the first steps fail under every convention.
    """
    open_ones = set(optimizer.open_conventions)
    first: Exception | SystemExit | None = None
    for candidate in _ORDER:
        if not set(candidate) <= open_ones:
            continue
        try:
            weights = _weights_after(optimizer, candidate)
        except (Exception, SystemExit) as error:
            first = first or error
            continue
        closure = candidate.get("closure", optimizer.conventions.get("closure"))
        if "closure" in open_ones and closure is True and _differs(optimizer, candidate | _BOTH, weights):
            candidate = candidate | _BOTH
        return candidate | _modes(optimizer, candidate)
    if "modes" in open_ones and not _fails(optimizer, {"modes": False}):
        return {"modes": False}
    assert first is not None
    raise NothingWorksError(Failure.of(first).line) from first


def _modes(optimizer: Optimizer, found: Found) -> Found:
    """``modes = False`` where evaluation at the weights of ``eval()`` fails, and without it nothing does."""
    if "modes" not in optimizer.open_conventions or not _fails(optimizer, found, evaluated=True):
        return {}
    return {} if _fails(optimizer, found | {"modes": False}, evaluated=True) else {"modes": False}


def _fails(optimizer: Optimizer, found: Found, evaluated: bool = False) -> bool:
    try:
        _weights_after(optimizer, found, evaluated)
    except (Exception, SystemExit):
        return True
    return False


def _differs(optimizer: Optimizer, found: Found, weights: list[Tensor]) -> bool:
    """Whether the class works under these conventions too, and makes other steps."""
    try:
        others = _weights_after(optimizer, found)
    except (Exception, SystemExit):
        return False
    return not all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))


def _weights_after(optimizer: Optimizer, found: Found, evaluated: bool = False) -> list[Tensor]:
    """The weights after the first steps of a network of 6, 8 and 3 units."""
    with seeded(0):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(64, 6, generator=generator)
        problem = Supervised({"train": (x, x[:, :3].argmax(1))}, CrossEntropy(), CLASSIFICATION)
        module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        draw = Draw(0, _BATCH)
        objective = Objective(module, problem, draw)
        hyperparameters = resolve(optimizer.options, {}, optimizer.name)
        # the class is called as found, and finds nothing out by its own first step
        plain = {"closure": optimizer.conventions.get("closure", False)}
        conventions = plain | found if "closure" in optimizer.open_conventions else found
        context = BuildContext(0, 64, _BATCH, steps=1000, conventions=conventions)
        stepper = optimizer.build(module, hyperparameters, context)
        try:
            for step in range(STEPS):
                objective.begin_step(problem.batch("train", step, draw), step)
                stepper.step(objective)
        except Diverged:  # a step that was made, to weights that are no good
            pass
        if evaluated:
            with stepper.evaluation_weights():
                pass
        return [parameter.detach().clone() for parameter in module.parameters()]
