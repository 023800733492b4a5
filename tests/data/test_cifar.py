from __future__ import annotations

import tarfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from small_data import cifar_records, images_and_labels, tar_gz, write_cifar
from thalweg.data.cifar import read_cifar
from thalweg.errors import UserError

TEN_TEST = "cifar-10-batches-bin/test_batch.bin"


@pytest.mark.parametrize("classes", [10, 100])
def test_what_was_written_is_read(tmp_path: Path, classes: int) -> None:
    write_cifar(tmp_path, classes)
    content = read_cifar(tmp_path / f"cifar-{classes}-binary.tar.gz", classes, 60, 20)  # type: ignore[arg-type]
    for seed, (images, labels) in enumerate((content[:2], content[2:])):
        expected_images, expected_labels = images_and_labels(len(labels), classes, (3, 32, 32), seed)
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


def test_nothing_is_unpacked_on_the_disk(tmp_path: Path) -> None:
    write_cifar(tmp_path, 10)
    read_cifar(tmp_path / "cifar-10-binary.tar.gz", 10, 60, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz"]


def test_the_wrong_number_of_examples_is_an_error(tmp_path: Path) -> None:
    write_cifar(tmp_path, 10)
    path = tmp_path / "cifar-10-binary.tar.gz"
    with pytest.raises(UserError, match=r"cifar-10-binary.tar.gz: 50000 training examples expected, 60 found"):
        read_cifar(path, 10)
    with pytest.raises(UserError, match=r"10000 test examples expected, 20 found"):
        read_cifar(path, 10, train=60)


def ten(train: bytes, test: bytes) -> dict[str, bytes]:
    return {f"cifar-10-batches-bin/data_batch_{i}.bin": train for i in range(1, 6)} | {TEN_TEST: test}


GOOD = cifar_records(*images_and_labels(2, 10, (3, 32, 32), 0), coarse=False)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"readme": b""}, "there is no cifar-10-batches-bin/data_batch_1.bin in the archive"),
        (ten(GOOD, GOOD[:-1]), f"{TEN_TEST} has 6145 bytes, which is no whole number of records of 3073"),
        (ten(GOOD, b""), f"{TEN_TEST} has 0 bytes"),
        (ten(GOOD, b"\x0a" + GOOD[1:]), f"{TEN_TEST} has a label 10, and 0 to 9 are expected"),
    ],
)
def test_odd_content_is_named(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    tar_gz(path, members)
    with pytest.raises(UserError) as caught:
        read_cifar(path, 10, 10, 2)
    assert str(caught.value).startswith(f"{path}: {message}")


ZEROS = bytes(1 << 20)


def bomb(path: Path, before: bytes, megabytes: int) -> None:
    """An archive whose last file goes on in zeros, packed a thousandfold."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(before), *(packer.compress(ZEROS) for _ in range(megabytes))]
    path.write_bytes(b"".join(parts) + packer.flush())


@pytest.mark.parametrize("kind", ["a record file", "another file", "a long name"])
def test_a_small_archive_that_unpacks_to_much_is_left_in_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    entry = tarfile.TarInfo(TEN_TEST if kind == "a record file" else "other")
    entry.size = 1 << 29
    if kind == "a long name":
        entry.type = tarfile.GNUTYPE_LONGNAME
    bomb(path, entry.tobuf(), 512)
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        read_cifar(path, 10, 60, 20)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
    most = 80 * 3073 + (1 << 20)
    assert str(caught.value).startswith(
        f"{path}: cannot be read as a .tar.gz archive: it unpacks to more than {most:,} "
    )


@pytest.mark.parametrize("keep", [0, 100, 3000], ids=["empty", "cut early", "cut late"])
def test_a_truncated_archive_is_an_error(tmp_path: Path, keep: int) -> None:
    write_cifar(tmp_path, 10)
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"cifar-10-binary.tar.gz: cannot be read as a .tar.gz archive"):
        read_cifar(path, 10, 60, 20)


def test_no_archive_at_all_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cifar-100-binary.tar.gz"
    path.write_bytes(b"<html>not here</html>" * 100)
    with pytest.raises(UserError, match=r"cannot be read as a .tar.gz archive"):
        read_cifar(path, 100)
    path.unlink()
    with pytest.raises(UserError, match=r"cannot be read as a .tar.gz archive"):
        read_cifar(path, 100)
