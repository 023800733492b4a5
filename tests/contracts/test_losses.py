from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from thalweg.contracts.losses import CrossEntropy, OutputLoss, SigmoidCrossEntropy, SquaredError

N, T, C = 3, 4, 5


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


CASES: dict[str, tuple[OutputLoss, Tensor, Tensor]] = {
    "classes": (CrossEntropy(), drawn(N, C), torch.tensor([0, 4, 2])),
    "sequences": (CrossEntropy(), drawn(N, T, C), torch.arange(N * T).view(N, T) % C),
    "pixels": (SigmoidCrossEntropy(), drawn(N, C), drawn(N, C).sigmoid()),
    "numbers": (SquaredError(), drawn(N, C), drawn(N, C + 1)[:, 1:]),
    "weighted": (SquaredError(weight=2.0), drawn(N, C), drawn(N, C + 1)[:, 1:]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_mean_is_that_of_the_examples_and_the_hessian_product_that_of_the_dense_hessian(case: str) -> None:
    loss, z, y = CASES[case]
    each = loss.per_example(z, y)
    assert each.shape == (N,)
    torch.testing.assert_close(loss.mean(z, y), each.mean(), rtol=1e-12, atol=1e-14)
    vectors = drawn(*z.shape, 1)[..., 0]
    product = loss.hessian_product(z, vectors)
    for i in range(N):

        def one(row: Tensor, i: int = i) -> Tensor:
            return loss.per_example(row[None], y[i : i + 1])[0]

        size = z[i].numel()
        dense: Any = torch.func.hessian(one)(z[i])
        by_hand = dense.reshape(size, size) @ vectors[i].reshape(-1)
        torch.testing.assert_close(product[i].reshape(-1), by_hand, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_in_the_outputs_is_autograds(case: str) -> None:
    loss, z, y = CASES[case]
    leaf = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss.per_example(leaf, y).sum(), leaf)
    torch.testing.assert_close(loss.gradient(leaf, y), expected, rtol=1e-12, atol=1e-14)
    assert not loss.gradient(leaf, y).requires_grad


@pytest.mark.parametrize("case", CASES)
def test_the_kl_is_that_of_torchs_distributions(case: str) -> None:
    loss, z, _ = CASES[case]
    other = z + 0.3 * drawn(*z.shape, 2)[..., 1]
    make: Any = {
        "classes": lambda z: torch.distributions.Categorical(logits=z),
        "sequences": lambda z: torch.distributions.Categorical(logits=z),
        "pixels": lambda z: torch.distributions.Bernoulli(logits=z),
        "numbers": lambda z: torch.distributions.Normal(z, 1.0),
        "weighted": lambda z: torch.distributions.Normal(z, 0.5),
    }[case]
    each = torch.distributions.kl_divergence(make(z), make(other))
    expected = each if case == "classes" else each.mean(-1) if case == "sequences" else each.sum(-1)
    torch.testing.assert_close(loss.kl(z, other), expected, rtol=1e-10, atol=1e-12)
    assert float(loss.kl(z, z).abs().max()) < 1e-14


def test_sigmoid_cross_entropy_is_the_papers_formula() -> None:
    loss, z, y = CASES["pixels"]
    s, t = 1 / (1 + np.exp(-z.numpy())), y.numpy()
    by_hand = -(t * np.log(s) + (1 - t) * np.log(1 - s)).sum(1)
    np.testing.assert_allclose(loss.per_example(z, y).numpy(), by_hand, rtol=1e-12)
    np.testing.assert_allclose(loss.scores(z, y)["squared_error"].numpy(), ((s - t) ** 2).sum(1), rtol=1e-12)


def test_accuracy_of_sequences_is_the_share_of_positions() -> None:
    z = torch.zeros(1, 4, 2)
    z[0, :, 1] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert CrossEntropy().scores(z, torch.tensor([[1, 1, 1, 0]]))["accuracy"].tolist() == [0.75]


@pytest.mark.parametrize("case", ["sequences", "pixels", "weighted"])
def test_samples_come_from_the_models_own_distribution(case: str) -> None:
    """20,000 draws at one output: means and variances to four standard errors."""
    loss, z, _ = CASES[case]
    many = z[:1].expand(20_000, *z.shape[1:]).contiguous()
    samples = loss.sample(many, torch.Generator().manual_seed(0))
    if case == "sequences":
        assert samples.shape == (20_000, T)
        shares = torch.stack([(samples == c).double().mean(0) for c in range(C)], -1)
        torch.testing.assert_close(shares, z[0].softmax(-1), rtol=0, atol=4 * 0.5 / 20_000**0.5)
    elif case == "pixels":
        assert set(samples.unique().tolist()) == {0.0, 1.0}
        torch.testing.assert_close(samples.mean(0), z[0].sigmoid(), rtol=0, atol=4 * 0.5 / 20_000**0.5)
    else:
        torch.testing.assert_close(samples.mean(0), z[0], rtol=0, atol=4 * 0.5 / 20_000**0.5)
        torch.testing.assert_close(samples.var(0), torch.full((C,), 0.25).double(), rtol=0.05, atol=0)
