from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from small_data import idx_bytes
from thalweg.data.idx import read_idx
from thalweg.errors import UserError

IMAGES = np.arange(1000 * 28 * 28, dtype=np.uint8).reshape(1000, 28, 28)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzip"])
@pytest.mark.parametrize("array", [IMAGES, np.array([3, 1, 2], np.uint8)], ids=["images", "labels"])
def test_what_was_written_is_read(tmp_path: Path, pack: type[bytes], array: np.ndarray) -> None:
    (tmp_path / "file").write_bytes(pack(idx_bytes(array)))
    read = read_idx(tmp_path / "file")
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(IMAGES)[:1000], "truncated: 784016 bytes expected, 1000 found"),
        (idx_bytes(IMAGES) + b"x", "too long: 784016 bytes expected, and there are more"),
        (idx_bytes(IMAGES)[:10], "truncated: a header of 16 bytes expected, 10 bytes found"),
        (gzip.compress(idx_bytes(IMAGES) + b"x"), "too long: 784016 bytes expected, and there are more"),
        (b"\0\0\x08\x41" + b"\0\0\0\1" * 65 + b"x", "has 65 dimensions, and an array has 64 at most"),
        (b"\0\0\x08\4" + b"\xff" * 16, "its header says that it has 340,282,3"),
        (b"", "is no IDX file of bytes"),
        (b"\0\0\x0d\x01\0\0\0\0", "is no IDX file of bytes"),
        (b"PK\x03\x04 and so on", "is no IDX file of bytes"),
        (gzip.compress(idx_bytes(IMAGES))[:200], "the gzip file is broken"),
        (gzip.compress(idx_bytes(IMAGES))[:-8] + bytes(8), "the gzip file is broken"),
        (b"\x1f\x8b\x08 no gzip after all", "the gzip file is broken"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_small_file_that_unpacks_to_much_is_unpacked_as_far_as_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    # a gigabyte of zeros after three labels, packed a thousandfold
    packer = zlib.compressobj(wbits=31)
    zeros = bytes(1 << 20)
    content = [packer.compress(idx_bytes(np.array([3, 1, 2], np.uint8)))]
    content += [packer.compress(zeros) for _ in range(1024)]
    path.write_bytes(b"".join(content) + packer.flush())
    tracemalloc.start()
    with pytest.raises(UserError, match="too long: 11 bytes expected, and there are more"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)))
    with pytest.raises(UserError, match=r"its header says that it has 784,000 elements, more than the 783,999 that"):
        read_idx(path, 783_999)
    assert read_idx(path, 784_000).shape == IMAGES.shape


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: cannot be read: No such file"):
        read_idx(tmp_path / "absent")
