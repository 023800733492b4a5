from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from thalweg.contracts.products import ONEDNN, linear, matmul
from thalweg.contracts.stacked import product

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.T.contiguous().T,
    "a part of rows": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "every second row": lambda x: x.repeat_interleave(2, 0)[::2],
    "every second column": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "one row again and again": lambda x: x[:1].expand(x.shape),
    "rows that overlap": lambda x: x.flatten().as_strided(x.shape, (1, 7)),
}


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("examples", "width"), [(128, 128), (127, 129), (1000, 64)])
def test_both_libraries_give_equal_layers(examples: int, width: int) -> None:
    """To the rounding of sums of ``width`` products in single precision."""
    x, weight, bias = numbers(examples, width), numbers(width, width), numbers(width)
    assert (examples * weight.numel() >= ONEDNN) == (width != 64 or examples * 64 * 64 >= ONEDNN)
    exact = functional.linear(x.double(), weight.double(), bias.double())
    for added in (bias, None):
        found = linear(x, weight, added)
        expected = exact if added is not None else exact - bias
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * width**0.5)


@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("size", [8, 160])
def test_products_of_any_layout(size: int, first: str, second: str) -> None:
    """To the rounding of sums of ``size`` products in single precision, below ONEDNN and above."""
    a, b, c = (
        LAYOUTS[first](numbers(size, size + 1)),
        LAYOUTS[second](numbers(size + 1, size + 2)),
        numbers(size, size + 2),
    )
    exact = a.double() @ b.double()
    np.testing.assert_allclose(matmul(a, b), exact, rtol=1e-5, atol=1e-5 * size**0.5)
    total = c.clone()
    assert matmul(a, b, total) is total
    np.testing.assert_allclose(total, exact + c, rtol=1e-5, atol=1e-5 * size**0.5)


def test_double_precision_stays_double() -> None:
    a, b = numbers(200, 200).double(), numbers(200, 200).double()
    np.testing.assert_array_equal(matmul(a, b), a @ b)


@pytest.mark.parametrize("bias", [None, (1, 162), (160, 1)], ids=["none", "of columns", "of rows"])
@pytest.mark.parametrize("transposed", [False, True])
def test_large_products_of_members_have_the_bits_of_each_alone(transposed: bool, bias: tuple[int, int] | None) -> None:
    one = numbers(5, 161, 160).mT if transposed else numbers(5, 160, 161)
    other, added = numbers(5, 161, 162), None if bias is None else numbers(5, *bias)
    assert ONEDNN <= 160 * 161 * 162
    exact = one.double() @ other.double() + (0 if added is None else added.double())
    together = product(one, other, added)
    np.testing.assert_allclose(together, exact, rtol=1e-5, atol=1e-5 * 161**0.5)
    for member in range(5):
        part = slice(member, member + 1)
        alone = product(one[part], other[part], None if added is None else added[part])
        assert torch.equal(together[part], alone)
