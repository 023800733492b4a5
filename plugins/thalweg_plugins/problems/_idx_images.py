"""Problems whose data is four IDX files, as MNIST and its relatives were published."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg import LoadedProblem, Metric, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget
from thalweg.data.fetch import DataFile
from thalweg.errors import UserError
from thalweg_plugins.problems._fetched import CHUNK, FetchedImages, Images, how_many
from thalweg_plugins.problems._starting import mean_pixel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


def idx_files(folders: tuple[str, ...], files: Mapping[str, tuple[int, str, *tuple[str, ...]]]) -> tuple[DataFile, ...]:
    """The four files of a data set: for each its size, its SHA-256 and other accepted digests. Every mirror has all."""
    return tuple(
        DataFile(name, tuple(folder + name for folder in folders), published, tuple(also), size)
        for name, (size, published, *also) in files.items()
    )


class IdxImages(FetchedImages):
    """60,000 training and 10,000 test images of 28 by 28 grey pixels in ten classes."""

    equation = "mean of -log softmax(z)_y"
    metrics = (Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log"))
    budget = Budget(epochs=10)
    options = (how_many(60_000),)
    image: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    train_examples: ClassVar[int] = 60_000

    def read(self, paths: Mapping[str, Path]) -> tuple[Images, Images]:
        """The two splits from the four files.

        Raises:
            UserError: a file is broken, or its examples are not the published ones.
        """
        import torch

        from thalweg.data.idx import read_idx

        splits = []
        for names, examples in (
            ((TRAIN_IMAGES, TRAIN_LABELS), self.train_examples),
            ((TEST_IMAGES, TEST_LABELS), self.test_examples),
        ):
            images, labels = (
                read_idx(paths[name], examples * size)
                for name, size in zip(names, (math.prod(self.image), 1), strict=True)
            )
            _expect(paths[names[0]], images, (examples, *self.image[1:]))
            _expect(paths[names[1]], labels, (examples,))
            if labels.max() >= self.classes:
                raise UserError(f"{paths[names[1]]}: has a label {labels.max()}; labels are 0 to {self.classes - 1}")
            splits.append(Images(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long()))
        train, test = splits
        return train, test


class IdxAutoencoder(IdxImages):
    """Reconstruction of the images as 784 numbers in [0, 1].

    Inputs and targets share one tensor, which is scaled once, since the loss compares targets as numbers and not bytes.
    """

    equation = "mean of -sum_j [y_j log s(z_j) + (1 - y_j) log(1 - s(z_j))], y = x"
    normalisation = "pixel / 255"
    metrics = (Metric("squared_error", "lower", "log"), Metric("loss", "lower", "log"))
    budget = Budget(epochs=10)

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """784 pixels in, a logit for each pixel out."""
        return Shape("autoencoding", (784,), (784,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of the mean pixel as the answer to every pixel."""
        return mean_pixel(784, self.mean[0], self.deviation[0], metric)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Decode, choose the training examples, split, scale.

        Raises:
            UserError: a file is missing or broken.
        """
        from thalweg.contracts.losses import SigmoidCrossEntropy
        from thalweg.contracts.supervised import Supervised

        scaled = {
            split: images.to(context.device).flatten(1).to(context.dtype).div_(255)
            for split, (images, _) in self.split(options, context).items()
        }
        data = {split: (pixels, pixels) for split, pixels in scaled.items()}
        return Supervised(data, SigmoidCrossEntropy(), self.metrics, CHUNK)


def _expect(path: Path, array: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise UserError(f"{path}: its array has shape {array.shape}; the published one has shape {shape}")
