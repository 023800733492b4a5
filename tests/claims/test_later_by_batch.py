"""L3 and L7: the batched trainings against torch's optimizers, and the fits against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from thalweg_plugins.claims.later import batch_sizes, classes


@pytest.mark.parametrize("method", ["momentum", "adam"])
def test_batched_trainings_are_those_of_torch(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of a batch has the losses of torch's optimizer on the same network; float32 over 20 steps: 1e-4."""
    monkeypatch.setattr(classes, "STEPS", 20)
    runs = classes.train(classes.HEAVY, method, [0.1, 0.01], [3, 4])
    x, y = classes.examples(classes.HEAVY)
    for number, (rate, seed) in enumerate([(0.1, 3), (0.01, 4)]):
        weights = [w.clone().requires_grad_() for w in classes._initial(seed)]
        kinds = {"momentum": lambda w, r: torch.optim.SGD(w, r, momentum=0.9), "adam": torch.optim.Adam}
        optimizer = kinds[method](weights, rate)
        found = []
        for _ in range(20):
            w1, b1, w2, b2 = weights
            loss = functional.cross_entropy(functional.relu(x @ w1 + b1) @ w2 + b2, y)
            found.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert runs.losses[:20, number] == pytest.approx(found, rel=1e-4)


def test_classes_have_the_sizes_of_the_rule() -> None:
    for kind in (classes.HEAVY, classes.EQUAL):
        _, y = classes.examples(kind)
        assert torch.bincount(y).tolist() == classes.class_sizes(kind)


def test_the_loss_of_rare_classes_is_that_of_their_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "STEPS", 0)
    runs = classes.train(classes.HEAVY, "adam", [0.1], [0])
    x, y = classes.examples(classes.HEAVY)
    w1, b1, w2, b2 = classes._initial(0)
    each = functional.cross_entropy(functional.relu(x @ w1 + b1) @ w2 + b2, y, reduction="none")
    assert runs.rare[0] == pytest.approx(float(each[y >= 5].mean()), rel=1e-5)


def test_slopes_and_the_critical_batch_have_closed_forms() -> None:
    perfect = {size: 1024.0 / size for size in batch_sizes.BATCHES}
    assert batch_sizes.slope(perfect, (8, 16, 32)) == pytest.approx(-1)
    flat = dict.fromkeys(batch_sizes.BATCHES, 30.0)
    assert batch_sizes.slope(flat, (256, 512)) == pytest.approx(0)
    for critical in (10.0, 300.0):
        steps = {size: 20 * (1 + critical / size) for size in batch_sizes.BATCHES}
        assert batch_sizes.critical_batch(steps) == pytest.approx(critical, rel=1e-6)
    assert math.isnan(batch_sizes.critical_batch({**flat, 8: math.inf}))
    assert math.isnan(batch_sizes.slope({**flat, 8: math.inf}, (8, 16, 32)))
