"""Times of surfaces of 25 x 25 points against evaluation point by point, and times of probes in training."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surfaces import by_hand, convnet, digits, mlp, plane, seconds_of_products
from thalweg.contracts.supervised import Supervised
from thalweg.landscape.evaluate import Plane, losses_at
from timing import ratio, ratios, record

SIDE = 25
PAIRS = 3


def compare(benchmark: Any, ours: Callable[[], Tensor], theirs: Callable[[], Tensor]) -> None:
    """Check that both results agree, then time both in alternating pairs, so that other load slows down both."""
    torch.testing.assert_close(ours(), theirs(), rtol=1e-4, atol=1e-6)
    benchmark.extra_info["ratio"] = ratio(ours, theirs, PAIRS)
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.benchmark(group="a surface against a walk by hand")
@pytest.mark.parametrize(
    ("build", "examples", "side"),
    [(mlp, 1797, SIDE), (mlp, 128, SIDE), (convnet, 1797, 5), (convnet, 128, SIDE)],
    ids=["mlp-1797", "mlp-128", "convnet-1797", "convnet-128"],
)
def test_a_surface(benchmark: Any, build: Callable[[], nn.Module], examples: int, side: int) -> None:
    torch.manual_seed(0)
    module, data = build().eval(), digits(examples)
    points = plane(module, side)
    compare(
        benchmark,
        lambda: losses_at(module, data, points, metrics=("loss",))["loss"],
        lambda: by_hand(module, data, points),
    )
    benchmark.extra_info["milliseconds_a_point_of_products_alone"] = round(
        1e3 * seconds_of_products(module, data.data["train"][0]), 3
    )


SIZES: list[tuple[str, int, int]] = [
    *(("mlp", width, examples) for width in (16, 128, 512, 1024) for examples in (8, 32, 128, 512, 1797)),
    *(("convnet", channels, examples) for channels in (16, 64) for examples in (8, 32, 128, 512, 1797)),
]


@pytest.mark.slow
@pytest.mark.benchmark(group="a surface against a walk by hand")
def test_surfaces_of_many_sizes(benchmark: Any) -> None:
    """``surface-by-hand-worst``: the ratios of the size whose median is the largest."""
    found: dict[str, list[float]] = {}
    for name, width, examples in SIZES:
        torch.manual_seed(0)
        module = (mlp(width) if name == "mlp" else convnet(width)).eval()
        data = digits(examples)
        work = examples * (width**2 if name == "mlp" else 1152 * width**2)
        points = plane(module, 25 if work < 5e6 else 13 if work < 5e7 else 7 if work < 5e8 else 5)

        def ours(module: nn.Module = module, data: Supervised = data, points: Plane = points) -> Tensor:
            return losses_at(module, data, points, metrics=("loss",))["loss"]

        def theirs(module: nn.Module = module, data: Supervised = data, points: Plane = points) -> Tensor:
            return by_hand(module, data, points)

        torch.testing.assert_close(ours(), theirs(), rtol=1e-4, atol=1e-6)
        found[f"{name}-{width}-{examples}"] = ratios(ours, theirs, 5)
    benchmark.extra_info["medians"] = {size: round(median(values), 3) for size, values in found.items()}
    record(benchmark, "surface-by-hand-worst", max(found.values(), key=median))
    benchmark.pedantic(lambda: None, rounds=1)
