from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from small_data import small_data
from thalweg.contracts import Draw, LoadContext, Metric
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg_plugins.problems._fetched import FetchedImages

CPU = torch.device("cpu")

FETCHED = (
    "mnist",
    "fashion-mnist",
    "kmnist",
    "fashion-mnist-imbalanced",
    "mnist-autoencoder",
    "fashion-mnist-autoencoder",
    "cifar10",
    "cifar100",
)
AUTOENCODERS = ("mnist-autoencoder", "fashion-mnist-autoencoder")


def load(registry: Registry, name: str, validation_fraction: float = 0.0, **given: Any) -> Supervised:
    problem = registry.problem(name)
    options = resolve(problem.options, given, name)
    loaded = problem.load(options, LoadContext(CPU, torch.float32, validation_fraction))
    assert isinstance(loaded, Supervised)
    return loaded


def counted(images: Tensor) -> Counter[bytes]:
    """How often each image occurs."""
    return Counter(image.numpy().tobytes() for image in images)


@pytest.fixture
def small(registry: Registry, tmp_path: Path) -> Iterator[None]:
    with small_data(registry, tmp_path):
        yield


@pytest.fixture(scope="module")
def fashion(registry: Registry) -> Supervised:
    """The real data, whole."""
    try:
        registry.problem("fashion-mnist").fetch({})
    except UserError as error:
        pytest.skip(f"needs Fashion-MNIST: apt-get install dataset-fashion-mnist, or a network ({error})")
    return load(registry, "fashion-mnist")


def test_fashion_mnist_is_what_was_published(fashion: Supervised) -> None:
    assert fashion.sizes == {"train": 60_000, "test": 10_000}
    for split, size in (("train", 6000), ("test", 1000)):
        images, labels = fashion.data[split]  # type: ignore[index]
        assert images.shape[1:] == (1, 28, 28)
        assert torch.bincount(labels).tolist() == [size] * 10


def test_fashion_mnist_has_the_declared_mean_and_deviation(registry: Registry, fashion: Supervised) -> None:
    problem = registry.problem("fashion-mnist")
    assert isinstance(problem, FetchedImages)
    pixels = fashion.data["train"][0].flatten().double() / 255
    # to the four decimals that are declared
    assert round(float(pixels.mean()), 4) == problem.mean[0]
    assert round(float(pixels.std()), 4) == problem.deviation[0]
    prepared = fashion.batch("train", 0, Draw(0, None)).inputs
    assert prepared is not None
    assert prepared.dtype == torch.float32
    # four decimals of mean and deviation leave at most 1e-4 / 0.353
    assert abs(float(prepared.double().mean())) < 3e-4
    assert abs(float(prepared.double().std()) - 1) < 3e-4
    expected = (fashion.data["train"][0][:5].double() / 255 - 0.2860) / 0.3530
    torch.testing.assert_close(prepared[:5].double(), expected, rtol=0, atol=2e-6)  # float32


def test_validation_and_training_examples_make_up_the_published_ones(registry: Registry, fashion: Supervised) -> None:
    split = load(registry, "fashion-mnist", 0.1)
    assert split.sizes == {"train": 54_000, "valid": 6000, "test": 10_000}
    parts = counted(split.data["train"][0]) + counted(split.data["valid"][0])
    assert parts == counted(fashion.data["train"][0])
    assert torch.equal(split.data["test"][0], fashion.data["test"][0])


def test_a_smaller_training_set_is_the_same_each_time_and_part_of_a_larger_one(
    registry: Registry, fashion: Supervised
) -> None:
    few, again, more = (load(registry, "fashion-mnist", examples=n).data["train"] for n in (1000, 1000, 2000))
    assert torch.equal(few[0], again[0])
    assert torch.equal(few[1], again[1])
    assert counted(few[0]) <= counted(more[0]) <= counted(fashion.data["train"][0])
    # 1,000 of ten equal classes: hypergeometric, standard deviation 9.4 a class
    assert (torch.bincount(few[1]) - 100).abs().max() < 47
    assert load(registry, "fashion-mnist", 0.2, examples=1000).sizes == {"train": 800, "valid": 200, "test": 10_000}


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.7])
def test_class_sizes_fall_as_the_power(registry: Registry, fashion: Supervised, exponent: float) -> None:
    loaded = load(registry, "fashion-mnist-imbalanced", exponent=exponent)
    expected = [round(6000 / (k + 1) ** exponent) for k in range(10)]
    assert torch.bincount(loaded.data["train"][1], minlength=10).tolist() == expected
    assert registry.problem("fashion-mnist-imbalanced").sizes({"exponent": exponent}) == loaded.sizes
    assert torch.equal(loaded.data["test"][1], fashion.data["test"][1])
    assert counted(loaded.data["train"][0]) <= counted(fashion.data["train"][0])


def test_a_huge_exponent_leaves_the_first_class(registry: Registry, small: None) -> None:
    loaded = load(registry, "fashion-mnist-imbalanced", exponent=1e4)
    assert loaded.data["train"][1].tolist() == [0] * 6


def test_the_autoencoders_targets_are_its_inputs_between_0_and_1(registry: Registry, fashion: Supervised) -> None:
    loaded = load(registry, "fashion-mnist-autoencoder", examples=5000)
    assert loaded.sizes == {"train": 5000, "test": 10_000}
    batch = loaded.batch("train", 0, Draw(0, 100))
    assert batch.inputs is not None
    assert batch.targets is not None
    assert torch.equal(batch.inputs, batch.targets)
    inputs, targets = loaded.data["test"]
    assert inputs.data_ptr() == targets.data_ptr()
    assert (float(targets.min()), float(targets.max())) == (0.0, 1.0)
    torch.testing.assert_close(targets.view(-1, 1, 28, 28) * 255, fashion.data["test"][0].float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", FETCHED)
def test_what_is_declared_holds(registry: Registry, name: str, small: None) -> None:
    problem = registry.problem(name)
    assert isinstance(problem, FetchedImages)
    autoencoding = (Metric("squared_error", "lower", "log"), Metric("loss", "lower", "log"))
    assert problem.metrics == (autoencoding if name in AUTOENCODERS else CLASSIFICATION)
    assert problem.budget is not None
    assert problem.licence
    assert problem.source
    assert "255" in problem.normalisation
    shape = problem.shape({})
    batch = load(registry, name).batch("train", 0, Draw(0, 6))
    assert batch.inputs is not None
    assert batch.inputs.shape == (6, *shape.input)
    assert batch.inputs.dtype == torch.float32
    if name not in AUTOENCODERS:
        for value in (*problem.mean, *problem.deviation):
            assert f"{value:.4f}" in problem.normalisation


@pytest.mark.parametrize("name", FETCHED)
def test_no_example_is_in_two_splits(registry: Registry, name: str, small: None) -> None:
    whole, parts = load(registry, name), load(registry, name, 0.3)
    assert parts.sizes["valid"] == math.ceil(0.3 * whole.sizes["train"])
    assert counted(parts.data["train"][0]) + counted(parts.data["valid"][0]) == counted(whole.data["train"][0])
    # the images of the small data are random, so all are different
    everything = sum((counted(images) for images, _ in parts.data.values()), Counter[bytes]())
    assert set(everything.values()) == {1}


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_augmented_in_training_only_where_asked_for(registry: Registry, name: str, small: None) -> None:
    plain, augmented = (load(registry, name, augment=augment) for augment in (False, True))
    for split, same in (("train", False), ("test", True)):
        batches = [loaded.batch(split, 0, Draw(0, 10)).inputs for loaded in (plain, augmented)]  # type: ignore[arg-type]
        assert torch.equal(*batches) is same  # type: ignore[arg-type]
    repeated = [augmented.batch("train", 3, Draw(0, 10)).inputs for _ in range(2)]
    assert torch.equal(*repeated)  # type: ignore[arg-type]


def test_cifar_channels_are_scaled_each_by_its_own_numbers(registry: Registry, small: None) -> None:
    problem = registry.problem("cifar10")
    assert isinstance(problem, FetchedImages)
    loaded = load(registry, "cifar10", augment=False)
    inputs = loaded.batch("test", 0, Draw(0, None)).inputs
    assert inputs is not None
    for channel in range(3):
        expected = (loaded.data["test"][0][:, channel].double() / 255 - problem.mean[channel]) / problem.deviation[
            channel
        ]
        torch.testing.assert_close(inputs[:, channel].double(), expected, rtol=0, atol=2e-6)  # float32


@pytest.mark.parametrize("name", FETCHED)
def test_data_that_is_not_there_is_an_error_that_says_what_to_do(
    registry: Registry, name: str, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"is not on this machine; .* put it into \$THALWEG_DATA/"):
        load(registry, name)


def test_other_examples_than_were_published_are_an_error(
    registry: Registry, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, message in (
        ("mnist", r"the published one has shape \(61, 28, 28\)"),
        ("cifar10", "61 training examples"),
    ):
        monkeypatch.setattr(type(registry.problem(name)), "train_examples", 61)
        with pytest.raises(UserError, match=message):
            load(registry, name)


def test_nothing_left_to_train_on_is_an_error(registry: Registry, small: None) -> None:
    with pytest.raises(UserError, match=r"mnist: of 1 training examples a validation fraction of 0\.5 leaves none"):
        load(registry, "mnist", 0.5, examples=1)
