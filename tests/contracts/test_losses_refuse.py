"""Targets that torch treats in its own way: broadcast, ignored, or read along another dimension."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.losses import CrossEntropy, OutputLoss, SigmoidCrossEntropy, SquaredError
from thalweg.contracts.objective import Objective
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import GGN, Hessian

N, T, C = 6, 4, 3


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def labels(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long)


SHAPES: dict[str, tuple[OutputLoss, Tensor, Tensor, str]] = {
    "a column of numbers against a row": (SquaredError(), zeros(N, 1), zeros(N), r"\(6, 1\) and targets \(6,\)"),
    "a row against a column": (SquaredError(), zeros(N), zeros(N, 1), r"\(6,\) and targets \(6, 1\)"),
    "one target for all": (SquaredError(), zeros(N, 2), zeros(1, 2), r"\(6, 2\) and targets \(1, 2\)"),
    "complex numbers": (SquaredError(), zeros(N, 1).to(torch.complex128), zeros(N, 1), "real numbers"),
    "a column of pixels against a row": (SigmoidCrossEntropy(), zeros(N, 1), zeros(N), r"\(6, 1\) and targets \(6,\)"),
    "a column of labels": (CrossEntropy(), zeros(N, C), labels(N, 1), r"\(6, 3\) and targets \(6, 1\)"),
    "no classes": (CrossEntropy(), zeros(N), labels(N), "classes last"),
    "classes in front": (CrossEntropy(), zeros(N, C, T), labels(N, T), r"\(6, 3, 4\) and targets \(6, 4\)"),
    "one label a sequence": (CrossEntropy(), zeros(N, T, C), labels(N), r"\(6, 4, 3\) and targets \(6,\)"),
    "class probabilities": (CrossEntropy(), zeros(N, C), zeros(N, C), "class probabilities are not supported"),
    "label too large": (CrossEntropy(), zeros(N, C), labels(N) + C, "label 3; .* from 0 to 2"),
    "label below zero": (CrossEntropy(), zeros(N, C), labels(N) - 1, "label -1; .* from 0"),
    "ignored label": (CrossEntropy(), zeros(N, C), labels(N) - 100, "label -100, with which torch marks"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_what_does_not_go_together_is_refused_with_both_sides(case: str) -> None:
    loss, outputs, targets, said = SHAPES[case]
    for function in (loss.per_example, loss.mean, loss.gradient):
        with pytest.raises(ValueError, match=said):
            function(outputs, targets)


@pytest.mark.parametrize("case", ["a column of labels", "a column of pixels against a row"])
def test_scores_refuse_it_too(case: str) -> None:
    """Comparing (N,) with (N, 1) gives (N, N) numbers, whose mean is no accuracy."""
    loss, outputs, targets, said = SHAPES[case]
    with pytest.raises(ValueError, match=said):
        loss.scores(outputs, targets)


@pytest.mark.parametrize(
    ("loss", "targets", "said"),
    [
        (CrossEntropy(), torch.tensor([0, 1, -100]), "label -100, with which torch marks what it ignores"),
        (CrossEntropy(), torch.tensor([0, 1, -1]), "label -1; "),
        (CrossEntropy(), torch.tensor([[0.2, 0.8]]), "class probabilities are not supported"),
        (SigmoidCrossEntropy(), torch.tensor([[0.0, 1.5]]), r"from 0 to 1.5; .* in \[0, 1\]"),
        (SigmoidCrossEntropy(), torch.tensor([[-1.0, 1.0]]), "from -1 to 1"),
    ],
)
def test_a_data_set_with_such_targets_is_refused_as_it_is_loaded(loss: OutputLoss, targets: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Supervised({"train": (zeros(len(targets), 2), targets)}, loss, (LOSS,))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_whole_numbers_of_every_kind_are_classes(dtype: torch.dtype) -> None:
    outputs, targets = torch.randn(N, C, generator=torch.Generator().manual_seed(0)), torch.arange(N) % C
    expected = -outputs.log_softmax(1)[torch.arange(N), targets]
    torch.testing.assert_close(CrossEntropy().per_example(outputs, targets.to(dtype)), expected)
    torch.testing.assert_close(CrossEntropy().mean(outputs, targets.to(dtype)), expected.mean())


def test_as_many_positions_as_classes_are_read_with_the_classes_last() -> None:
    outputs = torch.randn(N, C, C, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.arange(N * C).view(N, C) % C
    by_hand = zeros(N)
    for i in range(N):
        for t in range(C):
            by_hand[i] -= outputs[i, t].log_softmax(0)[targets[i, t]] / C
    torch.testing.assert_close(CrossEntropy().per_example(outputs, targets), by_hand, rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()])
def test_where_targets_are_taken_hessian_and_ggn_of_a_linear_network_are_one(loss: Any) -> None:
    """The outputs are linear in the weights, so both are J' H J: whatever counts in one counts in the other."""
    torch.manual_seed(0)
    module = nn.Linear(2, C).double()
    x = torch.randn(N, 2, dtype=torch.float64)
    y = torch.arange(N) % C if isinstance(loss, CrossEntropy) else torch.randn(N, C, dtype=torch.float64)
    data, draw = Supervised({"train": (x, y)}, loss, (LOSS,)), Draw(0, None)
    it = Objective(module, data, draw)
    it.begin_step(data.batch("train", 0, draw), 0)
    torch.testing.assert_close(GGN(it).dense(), Hessian(it).dense(), rtol=1e-12, atol=1e-14)
