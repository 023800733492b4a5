"""MNIST: handwritten digits."""

from thalweg_plugins.problems._fetched import standardised
from thalweg_plugins.problems._idx_images import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    IdxAutoencoder,
    IdxImages,
    idx_files,
)

FILES = idx_files(
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    {
        TRAIN_IMAGES: (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        TRAIN_LABELS: (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        TEST_IMAGES: (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        TEST_LABELS: (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    },
)
MEAN, DEVIATION = (0.1307,), (0.3081,)
LICENCE = "CC BY-SA 3.0"


class Mnist(IdxImages):
    """70,000 handwritten digits of 28 by 28 grey pixels.

    The published 10,000 test images are the test split; the option ``examples`` makes the training set smaller. The
    loss is the mean cross-entropy in nats.
    """

    name = "mnist"
    summary = "60,000 handwritten digits of 28x28 pixels, ten classes"
    source = "LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document recognition"
    licence = LICENCE
    folder = "mnist"
    files = FILES
    mean = MEAN
    deviation = DEVIATION
    normalisation = standardised(mean, deviation)


class MnistAutoencoder(IdxAutoencoder):
    """Reconstruction of the digits of MNIST, as 784 numbers in [0, 1], through a bottleneck.

    The loss is the sigmoid cross-entropy summed over pixels, in nats. Papers report ``squared_error``, the mean of
    ||s(z) - x||^2.
    """

    name = "mnist-autoencoder"
    summary = "reconstruct handwritten digits of 28x28 pixels through a bottleneck"
    source = (
        "Hinton & Salakhutdinov 2006, Reducing the dimensionality of data with neural networks;"
        " Martens & Grosse 2015, section 13; data: LeCun et al. 1998"
    )
    licence = LICENCE
    folder = "mnist"
    files = FILES
    mean = MEAN
    deviation = DEVIATION
