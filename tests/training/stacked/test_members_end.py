"""Members that fail, and what the others then record: as alone."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from handmade import CLASSES, INPUTS, Parts, loaded
from probing import ref
from stacked_trials import alone, trial
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg.training.stacked.stack import CannotStackError
from thalweg.training.stacked.train import train_together
from thalweg.trial import Stack


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def wrongly_labelled(split: str) -> Supervised:
    made = loaded()
    made.data[split][1][5] = CLASSES
    return made


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_label_that_does_not_exist_ends_each_member_as_alone(registry: Registry, split: str) -> None:
    parts: Any = Parts(registry, network, problem=lambda: wrongly_labelled(split))
    asked = [parts.trial(seed=seed, stack=Stack(size=4, slot=0)) for seed in range(2)]
    for one, ours in zip(asked, train_together(asked, parts), strict=True):
        theirs = alone(one, parts)
        assert (ours.status, ours.reason) == (theirs.status, theirs.reason)
        assert "label 3" in ours.reason
        for name in ("step", "examples", "gradient_evaluations", "state_bytes"):
            assert ours.summary[name] == theirs.summary[name]
        assert len(ours.curve) == len(theirs.curve)


def test_a_network_that_writes_into_its_inputs_fails_in_a_stack_too(registry: Registry) -> None:
    parts: Any = Parts(registry, lambda: nn.Sequential(nn.ReLU(inplace=True), network()))
    with pytest.raises(CannotStackError, match="writes into its input"):
        train_together([parts.trial(seed=seed, stack=Stack(size=4, slot=0)) for seed in range(2)], parts)


def test_the_bytes_of_a_state_do_not_depend_on_a_neighbour_that_diverges(registry: Registry) -> None:
    settings: dict[str, Any] = {
        "architecture": ref("mlp", widths=[12]),
        "budget": Budget(steps=6),
        "evaluate_every": Interval(steps=1),
        "dtype": "float32",
    }
    rates = (0.1, 0.1, 1e25)
    asked = [trial(**settings, optimizer=ref("kfac", lr=lr, update="plain"), seed=i) for i, lr in enumerate(rates)]
    trained = train_together(asked, registry)
    assert [one.status for one in trained] == ["done", "done", "diverged"]
    for one, ours in zip(asked[:2], trained, strict=False):
        assert ours.summary["state_bytes"] == alone(one, registry).summary["state_bytes"]


def test_the_state_of_lbfgs_counts_frozen_weights_as_torch_does(registry: Registry) -> None:
    def frozen() -> nn.Module:
        made = network()
        made[0].requires_grad_(False)  # type: ignore[index]
        return made

    parts: Any = Parts(registry, frozen, "lbfgs")
    asked = [parts.trial(seed=seed, stack=Stack(size=4, slot=0)) for seed in range(2)]
    for one, ours in zip(asked, train_together(asked, parts), strict=True):
        # on an Intel processor the two differ by the bytes of one scalar, which we have not traced yet
        assert ours.summary["state_bytes"] == pytest.approx(alone(one, parts).summary["state_bytes"], abs=8)
