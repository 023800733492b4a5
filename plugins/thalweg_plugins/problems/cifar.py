"""CIFAR-10 and CIFAR-100: small photographs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from thalweg import Metric, Option
from thalweg.contracts.budget import Budget
from thalweg.data.fetch import DataFile
from thalweg_plugins.problems._fetched import FetchedImages, Images, how_many, standardised

SITE = "https://www.cs.toronto.edu/~kriz/"
SOURCE = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
LICENCE = "none stated by the authors, who ask to cite Krizhevsky 2009"


class _Cifar(FetchedImages):
    equation = "mean of -log softmax(z)_y"
    source = SOURCE
    licence = LICENCE
    metrics = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))
    budget = Budget(epochs=100)
    options = (
        how_many(50_000),
        Option("augment", True, summary="train on random crops of images padded by 4, and mirror half of the crops"),
    )
    image: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    classes: ClassVar[Literal[10, 100]]
    train_examples: ClassVar[int] = 50_000

    def read(self, paths: Mapping[str, Path]) -> tuple[Images, Images]:
        """The two splits from the archive.

        Raises:
            UserError: the archive is broken, or its examples are not the published ones.
        """
        import torch

        from thalweg.data.cifar import read_cifar

        (path,) = paths.values()
        content = read_cifar(path, self.classes, self.train_examples, self.test_examples)
        tensors = [torch.from_numpy(array) for array in content]
        return Images(tensors[0], tensors[1].long()), Images(tensors[2], tensors[3].long())

    def augmentation(self, options: Mapping[str, Any]) -> Any:
        """Random crops and flips where ``augment`` is on."""
        from thalweg.data.augment import crop_and_flip

        return crop_and_flip if options["augment"] else None


class Cifar10(_Cifar):
    """60,000 colour photographs of 32 by 32 pixels in ten classes.

    The published 10,000 test images are the test split; the option ``examples`` makes the training set smaller.
    Training images are cropped and mirrored at random; evaluations use unchanged images. The loss is the mean
    cross-entropy in nats.
    """

    name = "cifar10"
    summary = "50,000 colour photographs of 32x32 pixels, ten classes"
    folder = "cifar10"
    files = (
        DataFile(
            "cifar-10-binary.tar.gz",
            (f"{SITE}cifar-10-binary.tar.gz",),
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size=170_052_171,
        ),
    )
    classes = 10
    mean = (0.4914, 0.4822, 0.4465)
    deviation = (0.2470, 0.2435, 0.2616)
    normalisation = standardised(mean, deviation)


class Cifar100(_Cifar):
    """60,000 colour photographs of 32 by 32 pixels in a hundred classes, the "fine" labels.

    The published 10,000 test images are the test split; the option ``examples`` makes the training set smaller.
    Training images are cropped and mirrored at random; evaluations use unchanged images. The loss is the mean
    cross-entropy in nats.
    """

    name = "cifar100"
    summary = "50,000 colour photographs of 32x32 pixels, a hundred classes"
    folder = "cifar100"
    files = (
        DataFile(
            "cifar-100-binary.tar.gz",
            (f"{SITE}cifar-100-binary.tar.gz",),
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            size=168_513_733,
        ),
    )
    classes = 100
    mean = (0.5071, 0.4865, 0.4409)
    deviation = (0.2673, 0.2564, 0.2762)
    normalisation = standardised(mean, deviation)
