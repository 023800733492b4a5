"""Checks of the learning rate that schedules set."""

from __future__ import annotations

from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, NotMet, condition, expect
from thalweg.testing.small import Workbench, parting
from thalweg.training.randomness import seeded

PATIENCE = 30
"""Steps within which the rate must have an effect: RAdam moves nothing in the first 5, AdaShift in the first 10."""
HALVED = 3
"""The step before which the rate is halved in mid-training."""


@condition(
    finds="an ``lr`` that cannot be read or set, or has no effect in 30 steps",
    means="tuning tries settings that are all the same, and calls one of them the best",
)
def has_a_learning_rate(registry: Registry, name: str) -> None:
    """The stepper's lr can be read and set, and has an effect, unless ``has_lr`` is false."""
    optimizer = registry.optimizer(name)
    declared = "lr" in [option.name for option in optimizer.options]
    expect(optimizer.has_lr or not declared, "has_lr to be true where 'lr' is an option", "it is false")
    _check_has_lr(registry, name)
    with seeded(0):
        bench, slow = Workbench(registry, name), Workbench(registry, name)
        try:
            lr = bench.stepper.lr
        except Exception as error:
            told = f"reading it: {type(error).__name__}: {error}"
            raise NotMet("a stepper with an lr", told, "without one, declare has_lr = False") from error
        slow.stepper.lr = lr / 8
        expect(slow.stepper.lr == lr / 8, f"lr to be {lr / 8} after setting it", f"{slow.stepper.lr}")
    with seeded(0):
        fast_path = bench.path(0, PATIENCE)
    with seeded(0):
        slow_path = slow.path(0, PATIENCE)
    apart = parting(fast_path, slow_path) is not None
    expect(
        apart,
        "other weights with an eighth of lr",
        f"{PATIENCE} steps end at equal weights: lr has no effect",
        "register(CLASS, lr=None) registers a class that finds its own rate",
    )


@condition(
    finds="an ``lr`` that is read once, as by a wrapper whose inner optimizer has groups of its own",
    means="a trial with a schedule is refused, since the schedule would change nothing",
)
def follows_a_schedule(registry: Registry, name: str) -> None:
    """A rate that is halved before each step from the third on changes the weights within thirty steps."""
    _check_has_lr(registry, name)
    with seeded(0):
        whole = Workbench(registry, name).path(0, HALVED + PATIENCE)
    with seeded(0):
        bench = Workbench(registry, name)
        lr, halved = bench.stepper.lr, bench.path(0, HALVED)
        for step in range(HALVED, HALVED + PATIENCE):
            bench.stepper.lr = lr / 2
            halved += bench.path(step, step + 1)
    expect(
        parting(whole, halved) is not None,
        f"other weights with half of lr from step {HALVED} on",
        f"{PATIENCE} steps at equal weights",
        "let step read group['lr'] of its own parameter groups each time",
    )


def _check_has_lr(registry: Registry, name: str) -> None:
    if not registry.optimizer(name).has_lr:
        raise DoesNotApply("it declares that it has no learning rate")
