"""Section E: the theorems to their tolerances, and the reduced problem against the registered one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from claim_context import decided, draws, measured
from thalweg.contracts import Draw, Optimizer
from thalweg.contracts.supervised import Supervised
from thalweg_plugins.claims.overfitting import E1, E2, E3, conditions
from thalweg_plugins.claims.overfitting._reduced import Runs, labels, train, unique_features
from thalweg_plugins.claims.stepping import Steps, loaded
from thalweg_plugins.optimizers.first_order.adagrad import Adagrad
from thalweg_plugins.optimizers.first_order.adam import Adam
from thalweg_plugins.optimizers.first_order.rmsprop import RMSprop
from thalweg_plugins.problems.wrs17 import WRS17


def test_e1_holds() -> None:
    table = measured(E1())
    assert decided(E1(), table).verdict == "holds"
    draws(E1(), table)


def test_e2_holds() -> None:
    table = measured(E2())
    assert decided(E2(), table).verdict == "holds"
    # the lemma needs five unique features
    literal = table[table["quantity"] == "cosine with sign(X'y), literal generator"]
    assert (literal["value"] < 0.999).all()
    draws(E2(), table)


OPTIMIZERS: dict[str, Optimizer] = {"adagrad": Adagrad(), "rmsprop": RMSprop(), "adam": Adam()}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("batch", "eps", "spread"), [(None, 1e-10, 0.0), (None, 1.0, 0.1), (6, 0.01, 0.1), (1, 1e-10, 0.0)]
)
def test_e3_the_reduced_problem_is_the_registered_one(name: str, batch: int | None, eps: float, spread: float) -> None:
    """200 steps of 30 examples; the seed of the trial draws the batches, the seed of the start the weights."""
    n, seed, rates = 30, 4, [0.02 * 0.99**t for t in range(200)]
    y = labels(n, 0.6)
    problem = loaded(WRS17(), examples=n, test_examples=n)
    assert isinstance(problem, Supervised)
    np.testing.assert_array_equal(problem.data["train"][1][:, 0].numpy(), y)
    size = 3 + 5 * 2 * n
    start = spread * np.random.default_rng([503, seed]).standard_normal(size)
    module = nn.Linear(size, 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(start)[None])
    run = Steps(OPTIMIZERS[name], problem, module, Draw(seed, batch), eps=eps)
    for lr in rates:
        run.stepper.lr = lr
        run.step()
    # seed 9 beside it, so that runs do not mix
    runs = Runs.drawn([seed, 9], y, spread)
    train(name, runs, y, [seed, 9], batch, eps, rates)
    w = run.w.numpy()
    assert runs.first[0] == pytest.approx(w[0], rel=1e-9, abs=1e-12)
    assert runs.shared[0] == pytest.approx(w[1] + w[2], rel=1e-9, abs=1e-12)
    outputs = problem.data["train"][0].numpy() @ w
    reduced = runs.first[0] * y + runs.shared[0] + runs.unique[0]
    np.testing.assert_allclose(reduced, outputs, rtol=1e-9, atol=1e-11)
    assert runs.test_accuracy(y)[0] == pytest.approx(problem.evaluate(module, "test")["accuracy"])
    assert runs.train_accuracy(y)[0] == pytest.approx(problem.evaluate(module, "train")["accuracy"])


def test_the_features_are_wilsons() -> None:
    y = labels(10, 0.6)
    assert y.tolist() == [1] * 6 + [-1] * 4
    assert unique_features(y).tolist() == [1] * 6 + [5] * 4


def test_e3_gives_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol on 20 steps; not the verdict."""
    short = {name: level._replace(steps=20) for name, level in conditions.LEVELS.items()}
    monkeypatch.setattr(conditions, "LEVELS", short)
    table = measured(E3(), 2)
    decision = decided(E3(), table)
    assert not any(part.lost for part in decision.parts)
    assert {part.condition for part in decision.parts if part.condition} == set(conditions.LEVELS)
    draws(E3(), table)
