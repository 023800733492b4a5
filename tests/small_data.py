"""Small files in the original formats, for every built-in problem that downloads its data."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt

from thalweg.data.digest import sha256
from thalweg.registry import Registry
from thalweg_plugins.problems._fetched import FetchedImages

TRAIN = 60
TEST = 20

Bytes = npt.NDArray[np.uint8]


def idx_bytes(array: Bytes) -> bytes:
    """The array in an IDX file, unpacked."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def images_and_labels(n: int, classes: int, shape: tuple[int, ...], seed: int) -> tuple[Bytes, Bytes]:
    """n random images, with labels that cycle through the classes."""
    images = np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)
    return images, (np.arange(n) % classes).astype(np.uint8)


def tar_gz(path: Path, members: Mapping[str, bytes]) -> None:
    """An archive of these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def cifar_records(images: Bytes, labels: Bytes, coarse: bool) -> bytes:
    """Records of the binary version: label and image; with ``coarse`` one of 20 coarse labels first."""
    columns = [labels[:, None] % 20] * coarse + [labels[:, None], images.reshape(len(images), -1)]
    return np.hstack(columns).astype(np.uint8).tobytes()


def write_idx(folder: Path, train: int = TRAIN, test: int = TEST) -> None:
    """Write the four files of MNIST and its relatives."""
    for seed, (prefix, n) in enumerate((("train", train), ("t10k", test))):
        images, labels = images_and_labels(n, 10, (28, 28), seed)
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images), 1, mtime=0))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels), 1, mtime=0))


def write_cifar(folder: Path, classes: int, train: int = TRAIN, test: int = TEST) -> None:
    """Write the archive of CIFAR-10 or CIFAR-100, with one or two files that are not data."""
    records = [
        cifar_records(*images_and_labels(n, classes, (3, 32, 32), seed), coarse=classes == 100)
        for seed, n in enumerate((train, test))
    ]
    if classes == 100:
        members = {"cifar-100-binary/train.bin": records[0], "cifar-100-binary/test.bin": records[1]}
    else:
        size = len(records[0]) // 5
        members = {
            f"cifar-10-batches-bin/data_batch_{i + 1}.bin": records[0][i * size : (i + 1) * size] for i in range(5)
        }
        members["cifar-10-batches-bin/test_batch.bin"] = records[1]
    tar_gz(folder / f"cifar-{classes}-binary.tar.gz", {"readme.html": b"<html></html>", **members})


@contextlib.contextmanager
def small_data(registry: Registry, folder: Path) -> Iterator[None]:
    """Give problems that download their data 60 training and 20 test images, in this process, inside the context."""
    problems = [registry.problem(entry.name) for entry in registry.entries("problems")]
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"THALWEG_DATA": str(folder)}))
        for problem in problems:
            if not isinstance(problem, FetchedImages):
                continue
            own = folder / problem.folder
            if not own.exists():
                own.mkdir()
                write_cifar(own, problem.classes) if problem.folder.startswith("cifar") else write_idx(own)
            files = tuple(replace(file, urls=(), sha256=sha256(own / file.name), also=()) for file in problem.files)
            for attribute, value in (("files", files), ("train_examples", TRAIN), ("test_examples", TEST)):
                stack.enter_context(mock.patch.object(type(problem), attribute, value))
        yield
