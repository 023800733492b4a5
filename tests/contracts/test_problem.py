from __future__ import annotations

import torch
from torch import Tensor

from thalweg.contracts import Draw
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised, split_off


def numbered(n: int) -> Supervised:
    return Supervised({"train": (torch.arange(n), torch.zeros(n).long())}, CrossEntropy(), CLASSIFICATION)


def rows(problem: Supervised, step: int, draw: Draw) -> list[int]:
    inputs = problem.batch("train", step, draw).inputs
    assert inputs is not None
    return inputs.tolist()


def test_an_epoch_visits_every_example_once_and_drops_the_incomplete_batch() -> None:
    problem, draw = numbered(22), Draw(0, 5)
    assert problem.steps_per_epoch(5) == 4
    seen = [row for step in range(4) for row in rows(problem, step, draw)]
    assert len(seen) == len(set(seen)) == 20
    second = [row for step in range(4, 8) for row in rows(problem, step, draw)]
    assert seen != second


def test_a_batch_does_not_depend_on_the_steps_before_it() -> None:
    problem = numbered(22)
    draw = Draw(0, 5)
    in_order = [rows(problem, step, draw) for step in range(9)]
    assert rows(problem, 8, Draw(0, 5)) == in_order[8]
    assert rows(problem, 8, Draw(1, 5)) != in_order[8]


def test_without_a_batch_size_the_batch_is_the_whole_split() -> None:
    problem = numbered(7)
    assert problem.steps_per_epoch(None) == 1
    assert rows(problem, 3, Draw(0, None)) == list(range(7))
    assert rows(problem, 3, Draw(0, 50)) == list(range(7))


def test_the_validation_split_is_disjoint_and_fixed() -> None:
    train, valid = split_off(100, 0.2)
    assert len(valid) == 20
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(100))
    assert torch.equal(valid, split_off(100, 0.2)[1])


def test_evaluation_in_chunks_gives_the_same_metrics() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(23, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (23,), generator=generator)
    module = torch.nn.Linear(4, 3).double()
    whole = Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION).evaluate(module, "train")
    pieces = Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION, chunk=5).evaluate(module, "train")
    assert abs(whole["loss"] - pieces["loss"]) < 1e-12
    assert whole["accuracy"] == pieces["accuracy"]
    by_hand = -module(x).log_softmax(-1)[torch.arange(23), y].mean()
    assert abs(whole["loss"] - by_hand.item()) < 1e-12


def test_streams_of_different_purposes_and_positions_differ() -> None:
    draw = Draw(0, 4)
    seeds = {draw.seed_for("init"), draw.seed_for("order", 0), draw.seed_for("order", 1), Draw(1, 4).seed_for("init")}
    assert len(seeds) == 4


def test_stored_inputs_are_prepared_a_batch_at_a_time_and_augmented_in_training_only() -> None:
    stored = torch.arange(20, dtype=torch.uint8).view(10, 2)
    sizes: list[int] = []

    def prepare(inputs: Tensor) -> Tensor:
        sizes.append(len(inputs))
        return inputs.double() / 255

    def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return inputs + torch.rand(len(inputs), 1, generator=generator)

    targets = torch.zeros(10).long()
    data = {"train": (stored, targets), "valid": (stored, targets)}
    problem = Supervised(data, CrossEntropy(), CLASSIFICATION, chunk=4, prepare=prepare, augment=augment)  # type: ignore[arg-type]
    batch = problem.batch("train", 1, Draw(0, 3)).inputs
    assert batch is not None
    assert sizes == [3]
    assert torch.equal(batch, problem.batch("train", 1, Draw(0, 3)).inputs)  # type: ignore[arg-type]
    assert not torch.equal(batch, problem.batch("train", 4, Draw(0, 3)).inputs)  # type: ignore[arg-type]
    plain = problem.without_augmentation().batch("train", 1, Draw(0, 3)).inputs
    noise = torch.rand(3, 1, generator=Draw(0, 3).generator("augment", 1))
    torch.testing.assert_close(batch, plain + noise)
    valid = problem.batch("valid", 0, Draw(0, None)).inputs
    assert torch.equal(valid, stored.double() / 255)  # type: ignore[arg-type]
    sizes.clear()
    module = torch.nn.Linear(2, 3).double()
    values = problem.evaluate(module, "train")
    assert sizes == [4, 4, 2]
    by_hand = -module(stored.double() / 255).log_softmax(-1)[:, 0].mean()
    assert abs(values["loss"] - by_hand.item()) < 1e-12
    assert stored.dtype == torch.uint8
