"""Every built-in optimizer keeps its declaration."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.contracts import BuildContext, Draw, Stepper
from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.registry import Registry, load_registry
from thalweg.testing.small import network, problem, same
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial

NAMES = [entry.name for entry in load_registry([]).entries("optimizers")]


def ref(name: str, **options: Any) -> ComponentRef:
    return ComponentRef(name=name, options=options, provider="test")


def is_dense(registry: Registry, name: str) -> bool:
    """Whether an optimizer keeps a matrix over all parameters; such methods declare ``max_parameters``."""
    return any(option.name == "max_parameters" for option in registry.optimizer(name).options)


def trial(registry: Registry, name: str) -> Trial:
    """digits-mlp; for dense methods a network 8-6-10 on 8 principal components."""
    if is_dense(registry, name):
        problem, architecture, batch_size = ref("digits", components=8), ref("mlp", widths=(6,), activation="tanh"), 256
    else:
        problem, architecture, batch_size = ref("digits"), ref("mlp"), 64
    return Trial(
        problem=problem,
        architecture=architecture,
        optimizer=ref(name),
        budget=Budget(epochs=10),
        batch_size=batch_size,
        validation_fraction=0.2,
        seed=0,
    )


@pytest.mark.parametrize("name", NAMES)
def test_trains_at_its_declared_defaults(registry: Registry, name: str) -> None:
    """The training loss is halved in ten epochs, whatever the method."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained = Training(assemble(trial(registry, name), registry), [], lambda *_: None).run()
    finally:
        torch.set_num_threads(threads)
    assert trained.status == "done", trained.reason
    curve = trained.curve
    losses = list(curve[(curve["split"] == "train") & (curve["metric"] == "loss")]["value"])
    assert losses[-1] < 0.5 * losses[0]
    assert trained.summary["state_bytes"] is not None


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in NAMES),
    ("bfgs", {"line_search": "exact"}),
    ("lbfgs", {"line_search": "exact"}),
    ("gauss-newton-cg", {"warm_start": 0.9}),
    ("natural-gradient-mc", {"kl": 1e-3}),
    ("kfac", {"update": "plain", "lr": 0.1, "labels": "exact"}),
    ("shampoo", {"interval": 5}),
    ("soap", {"interval": 5}),
]


@pytest.mark.parametrize(("name", "given"), VARIANTS, ids=[" ".join([name, *given]) for name, given in VARIANTS])
def test_training_that_is_cut_goes_on_as_if_it_were_not(registry: Registry, name: str, given: dict[str, Any]) -> None:
    """To the last bit, in float64: what an optimizer keeps in its state is all that it keeps, digits included."""
    data, draw, optimizer = problem(torch.float64), Draw(0, 16), registry.optimizer(name)
    h = resolve(optimizer.options, given, name)

    def build(module: nn.Module) -> tuple[nn.Module, Stepper, Objective]:
        return module, optimizer.build(module, h, BuildContext(0, 64, 16)), Objective(module, data, draw, l2=1e-3)

    def steps(stepper: Stepper, it: Objective, start: int, stop: int) -> None:
        for step in range(start, stop):
            it.begin_step(data.batch("train", step, draw), step)
            stepper.step(it)

    module, stepper, it = build(network(torch.float64))
    cuts, kept = [0, 3, 7, 21, 25, 30], {}
    for start, stop in itertools.pairwise(cuts):
        steps(stepper, it, start, stop)
        kept[stop] = copy.deepcopy((module, stepper.state_dict()))
    for cut in cuts[1:-1]:
        module, state = kept[cut]
        again, stepper, it = build(module)
        stepper.load_state_dict(state)
        steps(stepper, it, cut, 30)
        assert same(list(kept[30][0].state_dict().values()), list(again.state_dict().values())), f"cut after {cut}"


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is_and_what_it_costs(registry: Registry, name: str) -> None:
    optimizer = registry.optimizer(name)
    for text in (optimizer.equation, optimizer.source, optimizer.description):
        assert text
    assert "gradient" in optimizer.cost
    assert "state" in optimizer.cost
    lr = next(option for option in optimizer.options if option.name == "lr")
    assert lr.allowed in ("(0, inf)", "(0, 1]")
    assert lr.search is not None or lr.allowed == "(0, 1]"
    assert all(option.summary for option in optimizer.options)


def test_every_method_of_the_lecture_is_there() -> None:
    assert set(NAMES) >= {
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "amsgrad", "adamw", "nadam",
        "adagrad-lecture", "rmsprop-lecture", "adam-lecture", "adam-rkk18", "amsgrad-rkk18",
        "lion", "muon", "shampoo", "soap", "schedule-free-adamw",
        "bfgs", "lbfgs", "newton", "newton-cg", "gauss-newton-cg",
        "natural-gradient", "natural-gradient-cg", "natural-gradient-mc", "empirical-fisher", "kfac",
    }  # fmt: skip
