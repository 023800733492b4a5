"""KMNIST: cursive Japanese characters."""

from thalweg_plugins.problems._fetched import standardised
from thalweg_plugins.problems._idx_images import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    IdxImages,
    idx_files,
)


class Kmnist(IdxImages):
    """70,000 cursive Japanese characters of 28 by 28 grey pixels; harder than digits, since the classes vary more.

    The published 10,000 test images are the test split; the option ``examples`` makes the training set smaller. The
    loss is the mean cross-entropy in nats.
    """

    name = "kmnist"
    summary = "60,000 cursive Japanese characters of 28x28 pixels, ten classes"
    source = "Clanuwat et al. 2018, Deep learning for classical Japanese literature, arXiv:1812.01718"
    licence = "CC BY-SA 4.0"
    folder = "kmnist"
    files = idx_files(
        ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        {
            TRAIN_IMAGES: (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            TRAIN_LABELS: (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            TEST_IMAGES: (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            TEST_LABELS: (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        },
    )
    mean = (0.1918,)
    deviation = (0.3483,)
    normalisation = standardised(mean, deviation)
