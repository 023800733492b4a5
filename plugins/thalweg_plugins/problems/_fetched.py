"""The base class of image problems whose data is downloaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from thalweg import LoadedProblem, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.problem import Split
from thalweg.data.fetch import DataFile, fetch, present
from thalweg.errors import UserError
from thalweg_plugins.problems._starting import chance

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1000
"""Images in one pass when a split is evaluated."""
SUBSET_SEED = 20_000
"""The seed that draws a smaller training set; it must differ from the seed of the validation split."""


class Images(NamedTuple):
    """Images (N, C, H, W) as bytes, and labels (N,) as class indices."""

    images: Tensor
    labels: Tensor


def how_many(examples: int) -> Option:
    """The option ``examples`` of a data set with ``examples`` training examples."""
    return Option("examples", examples, f"[1, {examples}]", "training examples, drawn once and for all")


def standardised(mean: tuple[float, ...], deviation: tuple[float, ...]) -> str:
    """The text of ``normalisation`` for channels of these means and standard deviations."""
    means, deviations = (" ".join(f"{value:.4f}" for value in values) for values in (mean, deviation))
    return f"(pixel / 255 - mean) / deviation, over the whole training split: mean {means}, deviation {deviations}"


class FetchedImages(Problem):
    """Classification of images. A subclass declares the files and the numbers of examples, and reads the files.

    The device keeps the images as bytes and scales one batch at a time.
    """

    stacks = True
    folder: ClassVar[str]
    """The data set's folder in the cache and in $THALWEG_DATA."""
    files: ClassVar[tuple[DataFile, ...]]
    image: ClassVar[tuple[int, int, int]]
    """Channels, height, width."""
    classes: ClassVar[int] = 10
    train_examples: ClassVar[int]
    test_examples: ClassVar[int] = 10_000
    mean: ClassVar[tuple[float, ...]]
    """Mean and deviation of each channel over the published training split, for pixels in [0, 1]."""
    deviation: ClassVar[tuple[float, ...]]

    @abstractmethod
    def read(self, paths: Mapping[str, Path]) -> tuple[Images, Images]:
        """Read the published training and test splits; ``paths`` maps names to files."""

    def rows(self, labels: Tensor, options: Mapping[str, Any]) -> Tensor:
        """The numbers of the training examples in use, ascending. A smaller set is part of every larger set."""
        return fixed_order(len(labels))[: options["examples"]].sort().values

    def fetch(self, options: Mapping[str, Any]) -> None:
        """Download the files that are not on this machine."""
        fetch(self.folder, self.files)

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """The training examples asked for, and the whole test split."""
        return {"train": min(options["examples"], self.train_examples), "test": self.test_examples}

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """An image in, a logit for each class out."""
        return Shape("classification", self.image, (self.classes,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of chance among equally large classes."""
        return chance([1 / self.classes] * self.classes, metric)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Decode, choose the training examples, split.

        Raises:
            UserError: a file is missing or broken.
        """
        from thalweg.contracts.losses import CrossEntropy
        from thalweg.contracts.supervised import Supervised

        data: Any = {
            split: (images.to(context.device), labels.to(context.device))
            for split, (images, labels) in self.split(options, context).items()
        }
        return Supervised(data, CrossEntropy(), self.metrics, CHUNK, self._scaling(context), self.augmentation(options))

    def augmentation(self, options: Mapping[str, Any]) -> Any:
        """The augmentation of training batches; None for no augmentation."""
        return None

    def split(self, options: Mapping[str, Any], context: LoadContext) -> dict[Split, Images]:
        """The chosen training examples without the validation examples, the validation examples, and the test split.

        A split without examples is left out.
        """
        from thalweg.contracts.supervised import split_off

        train, test = self.read(present(self.folder, self.files))
        rows = self.rows(train.labels, options)
        kept, held_out = split_off(len(rows), context.validation_fraction)
        if not len(kept):
            raise UserError(
                f"{self.name}: of {len(rows)} training examples a validation fraction of"
                f" {context.validation_fraction:g} leaves none to train on"
            )
        parts: dict[Split, Images] = {
            "train": Images(*(tensor[rows[kept]] for tensor in train)),
            "valid": Images(*(tensor[rows[held_out]] for tensor in train)),
            "test": test,
        }
        return {split: part for split, part in parts.items() if len(part.labels)}

    def _scaling(self, context: LoadContext) -> Callable[[Tensor], Tensor]:
        import torch

        mean, deviation = (
            torch.tensor(values, dtype=context.dtype, device=context.device).view(-1, 1, 1)
            for values in (self.mean, self.deviation)
        )
        slope, offset = 1 / (255 * deviation), mean / deviation
        return lambda images: images.to(context.dtype).mul_(slope).sub_(offset)


def fixed_order(n: int) -> Tensor:
    """The rows 0 to n - 1 in an order drawn once and for all."""
    import torch

    return torch.randperm(n, generator=torch.Generator().manual_seed(SUBSET_SEED))
