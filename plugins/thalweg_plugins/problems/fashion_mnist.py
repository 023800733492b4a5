"""Fashion-MNIST: pictures of clothes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Option
from thalweg.contracts.budget import Target
from thalweg.contracts.problem import Split
from thalweg_plugins.problems._fetched import fixed_order, standardised
from thalweg_plugins.problems._idx_images import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    IdxAutoencoder,
    IdxImages,
    idx_files,
)
from thalweg_plugins.problems._starting import chance
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    from torch import Tensor

FILES = idx_files(
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    {  # as published, and as packed again in Debian's dataset-fashion-mnist
        TRAIN_IMAGES: (
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        ),
        TRAIN_LABELS: (
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        ),
        TEST_IMAGES: (
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        ),
        TEST_LABELS: (
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        ),
    },
)
MEAN, DEVIATION = (0.2860,), (0.3530,)
LICENCE = "MIT"
SOURCE = "Xiao, Rasul & Vollgraf 2017, Fashion-MNIST, arXiv:1708.07747"


class FashionMnist(IdxImages):
    """70,000 pictures of clothes of 28 by 28 grey pixels.

    The published 10,000 test images are the test split; the option ``examples`` makes the training set smaller. The
    loss is the mean cross-entropy in nats.
    """

    name = "fashion-mnist"
    target = Target(metric="accuracy", value=0.884)
    target_source = baseline("mlp, widths 256, 128")
    summary = "60,000 pictures of clothes of 28x28 pixels, ten classes"
    source = SOURCE
    licence = LICENCE
    folder = "fashion-mnist"
    files = FILES
    mean = MEAN
    deviation = DEVIATION
    normalisation = standardised(mean, deviation)


class FashionMnistImbalanced(FashionMnist):
    """Fashion-MNIST with training classes whose sizes fall as a power of their number.

    Class k = 0, ..., 9 keeps round(6000 / (k + 1)^exponent) training examples, drawn once and for all; the test split
    stays balanced. Such classes slow down gradient descent, but not Adam.
    """

    name = "fashion-mnist-imbalanced"
    target = Target(metric="accuracy", value=0.898)
    target_source = baseline("mlp, widths 256, 128")
    summary = "Fashion-MNIST with training classes of sizes 6000 / (k + 1)^exponent"
    source = (
        "Kunstner, Yadav, Milligan, Schmidt & Bietti 2024, Heavy-tailed class imbalance and why Adam outperforms"
        f" gradient descent on language models, arXiv:2402.19449; data: {SOURCE}"
    )
    options = (Option("exponent", 1.0, "[0, inf)", "how fast the sizes of the classes fall; 0: balanced"),)

    def kept(self, options: Mapping[str, Any]) -> list[int]:
        """The number of training examples of each class."""
        balanced = self.train_examples // self.classes
        return [round(balanced * (k + 1) ** -options["exponent"]) for k in range(self.classes)]

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of the largest class as the answer, and of the classes' shares as probabilities."""
        kept = self.kept(options)
        return chance([n / sum(kept) for n in kept], metric)

    def rows(self, labels: Tensor, options: Mapping[str, Any]) -> Tensor:
        """The first examples of each class in a fixed order of all examples."""
        import torch

        order = fixed_order(len(labels))
        chosen = [order[labels[order] == k][:n] for k, n in enumerate(self.kept(options))]
        return torch.cat(chosen).sort().values

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """The training examples of all classes, and the whole test split."""
        return {"train": sum(self.kept(options)), "test": self.test_examples}


class FashionMnistAutoencoder(IdxAutoencoder):
    """Reconstruction of the pictures of Fashion-MNIST, as 784 numbers in [0, 1], through a bottleneck.

    The loss is the sigmoid cross-entropy summed over pixels, in nats; ``squared_error`` is the mean of
    ||s(z) - x||^2.
    """

    name = "fashion-mnist-autoencoder"
    target = Target(metric="squared_error", value=15.0)
    target_source = baseline("autoencoder, widths 256, 64, 16")
    summary = "reconstruct pictures of clothes of 28x28 pixels through a bottleneck"
    source = f"as mnist-autoencoder (Hinton & Salakhutdinov 2006); data: {SOURCE}"
    licence = LICENCE
    folder = "fashion-mnist"
    files = FILES
    mean = MEAN
    deviation = DEVIATION
