"""What NumPy files hold, without reading more of them than is needed."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from thalweg.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Header:
    """Shape and type of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Arrays:
    """Arrays that go together: where they are, how many examples, their shapes."""

    places: dict[str, tuple[Path, str | None]]
    """Of x_train, y_train and perhaps x_test, y_test: the file and, in an .npz, the array's name."""
    train: int
    test: int
    input: tuple[int, ...]
    output: tuple[int, ...]
    classes: int
    """One more than the largest target, for classification; else 0."""

    def held_out(self, share: float) -> int:
        """How many of the examples are for testing where there is no test split."""
        import math

        return math.ceil(round(share * self.train, 9))

    def read(self) -> dict[str, Tensor]:
        """The arrays as float64 tensors."""
        import torch

        tensors = {}
        for name, (path, key) in self.places.items():
            array = _read(path, key)
            tensors[name] = torch.from_numpy(array.astype("float64"))
            if not torch.isfinite(tensors[name]).all():
                raise UserError(f"{path.name}: {key or name} has values that are not finite")
        return tensors


def find(file: str, inputs: str, targets: str, classes: bool) -> Arrays:
    """Look at headers and targets; UserError names the file, the array and what is wrong with it."""
    if bool(file) == bool(inputs or targets) or bool(inputs) != bool(targets):
        raise UserError('name one file, file = "mine.npz", or two, inputs = "x.npy" and targets = "y.npy"')
    if file:
        path = Path(file)
        headers = _archive(path)
        for name in ("x_train", "y_train"):
            if name not in headers:
                there = ", ".join(sorted(headers)) or "nothing"
                raise UserError(f"{path.name}: has no array {name}; there are: {there}")
        names = [name for name in ("x_train", "y_train", "x_test", "y_test") if name in headers]
        if len(names) == 3:
            raise UserError(f"{path.name}: has {names[2]} and not its partner: both or none")
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
            raise UserError(f"{where(name)} holds {header.dtype}, and numbers are needed")
        if not header.shape or not all(header.shape):
            raise UserError(f"{where(name)} has shape {header.shape}: examples come first, and there are none")
    for part in ("train", "test"):
        if f"x_{part}" in places:
            x, y = headers[f"x_{part}"], headers[f"y_{part}"]
            if x.shape[0] != y.shape[0]:
                raise UserError(
                    f"{where(f'x_{part}')} has {x.shape[0]} examples, and {where(f'y_{part}')} has {y.shape[0]}"
                )
            if len(x.shape) < 2:
                raise UserError(f"{where(f'x_{part}')} has shape {x.shape}, and (examples, features) is needed")
            if classes and (len(y.shape) != 1 or y.dtype.kind not in "iub"):
                raise UserError(
                    f"{where(f'y_{part}')} holds {y.dtype} of shape {y.shape}, and classes are whole numbers of shape "
                    f"(examples,); for numbers as targets use the problem 'arrays-regression'"
                )
            for one, other in ((x, headers["x_train"]), (y, headers["y_train"])):
                if one.shape[1:] != other.shape[1:]:
                    raise UserError(
                        f"{where(f'x_{part}')}: examples for training and for testing differ in shape: "
                        f"{other.shape[1:]} and {one.shape[1:]}"
                    )
    highest = 0
    if classes:
        for name in [name for name in places if name.startswith("y")]:
            labels = _read(*places[name])
            if labels.min() < 0:
                raise UserError(f"{where(name)} has the class {labels.min()}, and classes count from 0")
            highest = max(highest, int(labels.max()))
            if name == "y_train":
                known = highest
            elif highest > known:
                raise UserError(f"{where(name)} has the class {highest}, and {where('y_train')} ends at {known}")
        if highest < 1:
            raise UserError(f"{where('y_train')} has one class, and two are needed")
    return Arrays(
        places,
        train=headers["x_train"].shape[0],
        test=headers["x_test"].shape[0] if "x_test" in places else 0,
        input=headers["x_train"].shape[1:],
        output=headers["y_train"].shape[1:],
        classes=highest + 1 if classes else 0,
    )


def _archive(path: Path) -> dict[str, Header]:
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {}
            for member in archive.namelist():
                if member.endswith(".npy"):
                    with archive.open(member) as file:
                        headers[member.removesuffix(".npy")] = _header(file, f"{path.name}: {member}")
            return headers
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path.name}: is no .npz file: {error}") from error


def _single(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            return _header(file, path.name)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _header(file: Any, where: str) -> Header:
    """Of an open .npy file."""
    from numpy.lib import format as npy

    reader: BinaryIO = file
    try:
        version = npy.read_magic(reader)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, _, dtype = read(reader)
    except (ValueError, KeyError, EOFError) as error:
        raise UserError(f"{where}: is no .npy file: {error}") from error
    return Header(shape, dtype)


def _read(path: Path, key: str | None) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        array: np.ndarray[Any, Any] = loaded[key] if key else loaded
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path.name}: cannot be read: {error}") from error
    return array
