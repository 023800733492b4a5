"""What ``thalweg look`` reads: a module from Python code, weights and data from files that are data alone."""

from __future__ import annotations

import importlib
import pickle
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import UserError, unknown
from thalweg.failure import Failure
from thalweg.limits import BYTES, WEIGHT_BYTES
from thalweg.plugin_file import import_file

PAIRS = (("x", "y"), ("inputs", "targets"), ("x_train", "y_train"), ("data", "target"))
"""Names of inputs and targets in a file of arrays."""

NESTED = ("state_dict", "model_state_dict", "model")
"""Where checkpoints keep a state dict among other things."""

_BROKEN = (ValueError, KeyError, EOFError, RuntimeError, OSError, zipfile.BadZipFile, zlib.error)


def module_from(where: str) -> nn.Module:
    """The module that ``FILE.py:FUNCTION`` or ``PACKAGE.MODULE:FUNCTION`` makes; a class is called too.

    Raises:
        UserError: there is no such file, module or function, or it makes no module.
    """
    place, separator, name = where.rpartition(":")
    if not separator or not place or not name:
        raise UserError(f"--module {where}: give FILE.py:FUNCTION, a function that makes the network")
    try:
        if place.endswith(".py"):
            if not Path(place).is_file():
                raise UserError(f"--module {where}: there is no file {place}")
            code = import_file(Path(place))
        else:
            sys.path.insert(0, "")
            try:
                code = importlib.import_module(place)
            finally:
                sys.path.remove("")
        there = [key for key in vars(code) if not key.startswith("_")]
        if not hasattr(code, name):
            raise UserError(f"--module {where}: {unknown('function', name, there)}")
        made = getattr(code, name)
        made = made if isinstance(made, nn.Module) else made()
    except UserError:
        raise
    except Exception as error:  # the user's code may fail in any way
        raise UserError(f"--module {where}: {Failure.of(error).line}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"--module {where}: gives {type(made).__name__}, and no torch.nn.Module")
    return made


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a state dict into a module: a safetensors file, or one of ``torch.save`` that holds tensors alone.

    Raises:
        UserError: the file cannot be read so, or its tensors are not the module's.
    """
    state = _state(path)
    for key in NESTED:
        if isinstance(state.get(key), dict):
            state = state[key]
    wanted = module.state_dict()
    found = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    found = _stripped(found, wanted)
    absent, more = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if absent or more:
        told = [f"{what} {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" for what, names in (
            ("it lacks", absent), ("it has besides", more)) if names]  # fmt: skip
        raise UserError(f"{path}: holds other weights than {type(module).__name__}: {'; '.join(told)}")
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            shapes = f"{tuple(value.shape)}, and the module's {tuple(wanted[name].shape)}"
            raise UserError(f"{path}: {name} has the shape {shapes}")
    module.load_state_dict(found)


def _state(path: Path) -> dict[str, Any]:
    _check_there(path)
    WEIGHT_BYTES.check(path.stat().st_size, str(path))
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path}: {Failure.of(error).line}") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than tensors, numbers, texts, lists and tables, and nothing else is read: save "
            "module.state_dict()"
        ) from error
    except _BROKEN as error:
        raise UserError(f"{path}: is no file of torch.save or is damaged ({Failure.of(error).line})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds {type(found).__name__}, and no state dict")
    return found


def _stripped(found: dict[str, Tensor], wanted: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors without a prefix that all names of the module's weights have in the file, such as ``model.``."""
    if set(wanted) <= set(found) or not wanted:
        return found
    first = next(iter(wanted))
    for prefix in {name.removesuffix(first) for name in found if name.endswith(first)} - {""}:
        if all(prefix + name in found for name in wanted):
            return {name: found[prefix + name] for name in wanted}
    return found


def data_from(path: Path, module: nn.Module) -> tuple[Tensor, Tensor]:
    """Inputs and targets from an .npz, a safetensors file, or a file of ``torch.save`` with a pair or a table.

    Real numbers get the precision of the module's parameters, and whole targets are class indices.

    Raises:
        UserError: the file cannot be read, or does not hold two arrays.
    """
    _check_there(path)
    arrays = _npz(path) if path.suffix == ".npz" else _tensors(path)
    names = list(arrays)
    pair = next((pair for pair in PAIRS if set(pair) <= set(names)), None)
    if pair is None:
        if len(names) != 2:
            known = "; ".join(" and ".join(pair) for pair in PAIRS)
            raise UserError(f"{path}: holds {', '.join(names[:6]) or 'nothing'}: name two arrays {known}")
        pair = (names[0], names[1])
    x, y = (arrays[name] for name in pair)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    x = x.to(dtype) if x.is_floating_point() else x
    return x, y.to(dtype) if y.is_floating_point() else y.long()


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            BYTES.check(sum(one.file_size for one in archive.infolist()), str(path))
        with np.load(path, allow_pickle=False) as found:
            return {name: torch.from_numpy(np.ascontiguousarray(found[name])) for name in found.files}
    except (*_BROKEN, TypeError) as error:
        raise UserError(f"{path}: is no .npz of numbers, or is damaged ({Failure.of(error).line})") from error


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix in (".pt", ".pth"):
        try:
            pair = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, *_BROKEN):
            pair = None
        if isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(one, Tensor) for one in pair):
            return {"x": pair[0], "y": pair[1]}
    return {name: value for name, value in _state(path).items() if isinstance(value, Tensor)}


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
