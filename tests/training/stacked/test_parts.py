"""A few members of a stack are evaluated by a smaller program, to the same bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from probing import ref
from thalweg.contracts.budget import Budget
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.objective import StackedObjective
from thalweg.training.stacked.problem import StackedProblem
from thalweg.trial import Trial

NETWORKS = {
    "mlp": (ref("digits"), ref("mlp", widths=[12, 8], activation="tanh")),
    "batch norm": (
        ref("digits", layout="image"),
        ref("convnet", channels=[3, 4, 5], widths=[8], padding="same", norm="batch"),
    ),
}


def objective_of(registry: Registry, network: str, members: int, batch: Any, frozen: bool = False) -> StackedObjective:
    problem, architecture = NETWORKS[network]
    its = [
        assemble(
            Trial(problem=problem, architecture=architecture, optimizer=ref("lbfgs"), budget=Budget(steps=1),
                  batch_size=batch, seed=seed),
            registry,
        )
        for seed in range(members)
    ]  # fmt: skip
    for it in its if frozen else []:
        next(it.module.parameters()).requires_grad_(False)
    module = StackedModule([it.module for it in its])
    assert isinstance(its[0].problem, Supervised)
    batches = StackedProblem(its[0].problem, [it.draw for it in its])
    trained = [name for name, piece in module.pieces.items() if piece.gradient is not None]
    objective = StackedObjective(module, batches, its[0].draw, l2=0.1, penalized=trained[:2])
    objective.begin_step(batches.batch("train", 0, its[0].draw), 0)
    return objective


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch", [32, "full"])
@pytest.mark.parametrize("frozen", [False, True])
def test_parts_give_the_bits_of_the_whole(registry: Registry, network: str, batch: Any, frozen: bool) -> None:
    objective = objective_of(registry, network, 7, batch, frozen)
    everyone = range(7)
    objective.each(everyone)
    buffers = [buffer.clone() for buffer in objective.module.buffers()]
    objective.module.vectors.mul_(0.9)
    losses, gradients = objective.each(everyone)
    for few in ([2], [6, 0], [1, 4, 5], [0, 2, 3, 6]):
        part = objective._parts.of(few, objective.batch)
        assert part is not None
        assert part[0].members == {1: 1, 2: 2, 3: 4, 4: 4}[len(few)]
        some, vectors = objective.each(few)
        assert some == [losses[member] for member in few]
        assert all(torch.equal(vector, gradients[member]) for member, vector in zip(few, vectors, strict=True))
    assert objective._parts.of([0, 1, 2, 3, 4], objective.batch) is None
    assert all(map(torch.equal, buffers, objective.module.buffers()))


def test_each_member_is_counted_and_its_loss_is_that_of_backward(registry: Registry) -> None:
    objective = objective_of(registry, "mlp", 3, 32)
    total = objective.backward()
    gradient = objective.module.gradient.view(3, -1).clone()
    losses, vectors = objective.each([0, 1, 2])
    torch.testing.assert_close(torch.tensor(losses).sum(), total)
    assert all(map(torch.equal, vectors, gradient))
    objective.each([1])
    counted = [objective.counts_of(member) for member in range(3)]
    assert [counts.gradient_evaluations for counts in counted] == [2, 3, 2]
    assert [counts.examples for counts in counted] == [64, 96, 64]
