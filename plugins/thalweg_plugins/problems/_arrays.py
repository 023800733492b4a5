"""Read and check NumPy files. Imports numpy, so it is imported only when a file is read."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from thalweg.contracts.problem import held_out
from thalweg.errors import UserError
from thalweg.limits import BYTES
from thalweg.shown import brief, some

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BROKEN = (
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""The exceptions of numpy and zipfile for a file that is cut off, damaged or of another format."""


@dataclass(frozen=True)
class Header:
    """An array's shape and type from the header of its file, and the bytes that follow the header."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    there: int

    @property
    def bytes(self) -> int:
        """The bytes of an array of this shape and type."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Arrays:
    """The arrays of one data set: their files, numbers of examples and shapes."""

    places: dict[str, tuple[Path, str | None]]
    """For x_train, y_train and, where they exist, x_test and y_test: the file and, in an .npz, the array's name."""
    train: int
    test: int
    input: tuple[int, ...]
    output: tuple[int, ...]
    classes: int
    """The number of classes, one more than the largest target; 0 for regression."""

    def held_out(self, share: float) -> int:
        """The number of test examples to draw where the files have no test split."""
        return held_out(self.train, share)

    def read(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays as they are in the files."""
        return {name: _read(*place) for name, place in self.places.items()}


def find(file: str, inputs: str, targets: str, classes: bool) -> Arrays:
    """Find and check the arrays. The result is cached for as long as the files do not change.

    Raises:
        UserError: the file, the array and its fault.
    """
    states = tuple(_state(path) for path in (file, inputs, targets))
    return _find(file, inputs, targets, classes, states)


def _state(path: str) -> tuple[int, int] | None:
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=32)
def _find(file: str, inputs: str, targets: str, classes: bool, states: tuple[tuple[int, int] | None, ...]) -> Arrays:
    if bool(file) == bool(inputs or targets) or bool(inputs) != bool(targets):
        raise UserError('name one file, file = "mine.npz", or two, inputs = "x.npy" and targets = "y.npy"')
    if file:
        path = Path(file)
        headers = _archive(path)
        names = list(headers)
        if len(names) == 3:
            raise UserError(f"{path.name}: has {names[2]} without its partner; give both x_test and y_test, or neither")
        places: dict[str, tuple[Path, str | None]] = {name: (path, name) for name in names}
    else:
        places = {"x_train": (Path(inputs), None), "y_train": (Path(targets), None)}
        headers = {name: _single(path) for name, (path, _) in places.items()}
    return _checked(places, headers, classes)


def _checked(places: dict[str, tuple[Path, str | None]], headers: dict[str, Header], classes: bool) -> Arrays:
    def where(name: str) -> str:
        path, key = places[name]
        return f"{path.name}: {key}" if key else path.name

    for name in places:
        header = headers[name]
        if header.dtype.kind not in "fiub":
            raise UserError(f"{where(name)} holds {header.dtype}; numbers are needed")
        if not header.shape or min(header.shape) < 1:
            raise UserError(
                f"{where(name)} has shape {brief(header.shape)}: the first dimension counts examples, "
                "and no dimension may be 0"
            )
        if header.bytes > header.there:
            told = f"has shape {brief(header.shape)} of {header.dtype}, but the file has only {header.there:,} bytes"
            raise UserError(f"{where(name)} {told}: it is broken")
    # from the headers, before anything is unpacked
    BYTES.check(
        sum(header.bytes for header in headers.values()), " and ".join({one.name: 0 for one, _ in places.values()})
    )
    for part in ("train", "test"):
        if f"x_{part}" in places:
            x, y = headers[f"x_{part}"], headers[f"y_{part}"]
            if x.shape[0] != y.shape[0]:
                raise UserError(
                    f"{where(f'x_{part}')} has {x.shape[0]} examples, but {where(f'y_{part}')} has {y.shape[0]}"
                )
            if len(x.shape) < 2:
                raise UserError(f"{where(f'x_{part}')} has shape {brief(x.shape)}; (examples, features) is needed")
            if classes and (len(y.shape) != 1 or y.dtype.kind not in "iub"):
                raise UserError(
                    f"{where(f'y_{part}')} holds {y.dtype} of shape {brief(y.shape)}; classes are whole numbers of "
                    f"shape (examples,); for numbers as targets use the problem 'arrays-regression'"
                )
            for one, other in ((x, headers["x_train"]), (y, headers["y_train"])):
                if one.shape[1:] != other.shape[1:]:
                    raise UserError(
                        f"{where(f'x_{part}')}: training and test examples differ in shape: "
                        f"{brief(other.shape[1:])} and {brief(one.shape[1:])}"
                    )
    for name, place in places.items():
        # a run reads all values anyway; here the user hears of a fault before anything trains
        values = _read(*place)
        if not np.isfinite(values).all():
            raise UserError(f"{where(name)} has values that are not finite")
    n = headers["x_train"].shape[0]
    highest = _highest({name: _read(*places[name]) for name in places if name.startswith("y")}, where) if classes else 0
    if highest >= max(n, 2):
        raise UserError(
            f"{where('y_train')} has the class {highest} but only {n} examples; number the classes 0, 1, 2 and so on"
        )
    return Arrays(
        places,
        train=headers["x_train"].shape[0],
        test=headers["x_test"].shape[0] if "x_test" in places else 0,
        input=headers["x_train"].shape[1:],
        output=headers["y_train"].shape[1:],
        classes=highest + 1 if classes else 0,
    )


def _highest(labels: dict[str, np.ndarray[Any, Any]], where: Callable[[str], str]) -> int:
    """The largest class in the training targets.

    Raises:
        UserError: a class is negative, the training targets have one class, or a test target has a larger class.
    """
    for name, values in labels.items():
        if values.min() < 0:
            raise UserError(f"{where(name)} has the class {values.min()}; classes count from 0")
    highest = int(labels["y_train"].max())
    if highest < 1:
        raise UserError(f"{where('y_train')} has one class; two are needed")
    if "y_test" in labels and int(labels["y_test"].max()) > highest:
        raise UserError(
            f"{where('y_test')} has the class {int(labels['y_test'].max())}, but {where('y_train')} ends at {highest}"
        )
    return highest


NAMES = ("x_train", "y_train", "x_test", "y_test")


def _archive(path: Path) -> dict[str, Header]:
    """The headers of the arrays among NAMES that the file has; UserError without x_train or y_train."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {one.filename: one for one in archive.infolist()}
            for name in NAMES[:2]:
                if f"{name}.npy" not in members:
                    arrays = sorted(one.removesuffix(".npy") for one in members if one.endswith(".npy"))
                    raise UserError(f"{path.name}: has no array {name}; its arrays are: {some(arrays) or 'none'}")
            headers = {}
            for name in NAMES:
                if (member := members.get(f"{name}.npy")) is not None:
                    with archive.open(member) as file:
                        headers[name] = _header(file, f"{path.name}: {member.filename}", member.file_size)
            return headers
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except BROKEN as error:
        raise UserError(f"{path.name}: is no .npz file, or is broken: {error}") from error


def _single(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            return _header(file, path.name, path.stat().st_size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


HEADER = 1 << 17
"""Bytes to read for a header. Numpy refuses headers of more than 10,000."""


def _header(file: IO[bytes], where: str, size: int) -> Header:
    """The header of an open .npy file whose unpacked size is ``size`` bytes."""
    from numpy.lib import format as npy

    reader = io.BytesIO(file.read(HEADER))
    try:
        version = npy.read_magic(reader)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, _, dtype = read(reader)
    except BROKEN as error:
        raise UserError(f"{where}: is no .npy file, or is broken: {error}") from error
    return Header(shape, dtype, size - reader.tell())


def _read(path: Path, key: str | None) -> np.ndarray[Any, Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        array: np.ndarray[Any, Any] = loaded[key] if key else loaded
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise UserError(f"{path.name}: cannot be read: this machine has too little memory") from error
    except BROKEN as error:
        raise UserError(f"{path.name}: cannot be read: {error}") from error
    return array


BLOCK = 4096
"""Examples that are converted to float64 at a time, so that a large array of bytes is never float64 as a whole."""

Moments = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def moments(x: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> Moments:
    """Mean and standard deviation of each input over some examples, in float64.

    A deviation up to 1e-12 of the mean is rounding: the input is constant, and its deviation counts as 1.
    """
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    with np.errstate(over="ignore", invalid="ignore"):  # the UserError below reports both
        mean = sum(x[block].sum(0, dtype=np.float64) for block in blocks) / len(rows)
        variance = sum(np.square(x[block] - mean).sum(0) for block in blocks) / len(rows)
    deviation = np.sqrt(variance)
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise UserError("x_train: the squares of its values are too large for float64: scale the values")
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)


def check_fits(array: np.ndarray[Any, Any], tensor: Tensor, name: str, varying: bool = False) -> None:
    """Check that a tensor's precision can hold an array's values.

    Args:
        array: the array from the file.
        tensor: the tensor that was made of it.
        name: the array's name, for the message.
        varying: whether values that differ in the array must differ in the tensor. Then the spacing of the precision's
            numbers at the array's largest value must not exceed the array's standard deviation.

    Raises:
        UserError: the precision cannot.
    """
    import torch

    precision = str(tensor.dtype).removeprefix("torch.")
    if not torch.isfinite(tensor).all():
        raise UserError(f"{name} has values too large for {precision}: scale the values, or use dtype = 'float64'")
    if not varying:
        return
    rows = array.reshape(len(array), -1).astype(np.float64)
    deviation, largest = rows.std(0), np.abs(rows).max(0)
    if ((rows.min(0) < rows.max(0)) & (deviation < torch.finfo(tensor.dtype).eps * largest)).any():
        raise UserError(
            f"{name} varies by less than the spacing of {precision} numbers of its size: subtract the mean, or "
            "use dtype = 'float64'"
        )


def taken(
    array: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], dtype: torch.dtype, scale: Moments | None = None
) -> Tensor:
    """Some rows of an array as a tensor; with ``scale``, each value less the mean, divided by the deviation."""
    import torch

    tensor = torch.empty((len(rows), *array.shape[1:]), dtype=dtype)
    for start in range(0, len(rows), BLOCK):
        values = array[rows[start : start + BLOCK]].astype(np.float64)
        if scale is not None:
            values = (values - scale[0]) / scale[1]
        tensor[start : start + BLOCK] = torch.from_numpy(values)
    return tensor
