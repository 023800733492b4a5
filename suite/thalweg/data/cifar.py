"""The binary archives of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from thalweg.errors import UserError

IMAGE = (3, 32, 32)

_TRAIN = {
    10: tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
    100: ("cifar-100-binary/train.bin",),
}
_TEST = {10: "cifar-10-batches-bin/test_batch.bin", 100: "cifar-100-binary/test.bin"}
_LABELS = {10: 1, 100: 2}
"""Bytes before an image: CIFAR-100 has a coarse label and then the fine one."""
_BESIDES = 1 << 20
"""The most bytes of an archive besides its records: names of classes, a page, and the headers of tar."""


class Cifar(NamedTuple):
    """Images (N, 3, 32, 32) and labels (N,) of both splits, as bytes."""

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]


def read_cifar(path: Path, classes: Literal[10, 100], train: int = 50_000, test: int = 10_000) -> Cifar:
    """The images and labels of the "binary version", read from the .tar.gz without unpacking it.

    A record is one label byte (CIFAR-100: two, of which the second, the fine label, is used) and 3,072 bytes of an
    image: red, green, blue, each row by row (Krizhevsky 2009; www.cs.toronto.edu/~kriz/cifar.html).

    Args:
        path: the archive.
        classes: 10 or 100, for the data set.
        train: the number of training examples that the archive must have.
        test: the number of test examples that the archive must have.

    Raises:
        UserError: the archive is broken, a file is missing in it, counts or labels are not as they should be, or it
            unpacks to more than so many examples take.
    """
    most = (train + test) * _record(classes) + _BESIDES
    members = _members(path, (*_TRAIN[classes], _TEST[classes]), most)
    parts = [_records(path, name, members[name], classes) for name in _TRAIN[classes]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    test_images, test_labels = _records(path, _TEST[classes], members[_TEST[classes]], classes)
    for split, expected, found in (("training", train, len(labels)), ("test", test, len(test_labels))):
        if found != expected:
            raise UserError(f"{path}: {expected} {split} examples expected, {found} found")
    return Cifar(images, labels, test_images, test_labels)


def _record(classes: int) -> int:
    return _LABELS[classes] + 3 * 32 * 32


class _Bounded(io.RawIOBase):
    """A stream that ends with an error after a number of bytes, for a file that unpacks to more than it should."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self.file, self.most, self.left = file, most, most

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(self.left + 1 if size < 0 else min(size, self.left + 1))
        self.left -= len(content)
        if self.left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {self.most:,} bytes")
        return content


def _members(path: Path, names: tuple[str, ...], most: int) -> dict[str, bytes]:
    members = {}
    try:
        # in the archive's own order: going back would unpack it again from its start
        with gzip.open(path) as packed, tarfile.open(fileobj=_Bounded(packed, most), mode="r|") as archive:
            for member in archive:
                if member.name in names and (file := archive.extractfile(member)) is not None:
                    members[member.name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"{path}: cannot be read as a .tar.gz archive: {error}") from error
    for name in names:
        if name not in members:
            raise UserError(f"{path}: there is no {name} in the archive")
    return members


def _records(
    path: Path, name: str, content: bytes, classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    before = _LABELS[classes]
    size = _record(classes)
    if not content or len(content) % size:
        raise UserError(f"{path}: {name} has {len(content)} bytes, which is no whole number of records of {size}")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    labels = records[:, before - 1].copy()
    if labels.max() >= classes:
        raise UserError(f"{path}: {name} has a label {labels.max()}, and 0 to {classes - 1} are expected")
    return records[:, before:].reshape(-1, *IMAGE).copy(), labels
