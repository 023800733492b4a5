"""Weights on disk: ``weights/*.safetensors`` of a trial. Nothing is pickled.

Tensors in a file have the names of the state dict. Two kinds of values, which safetensors cannot hold, have a prefix:
``json:NAME`` is extra state of a module, as text, and ``complex128:NAME`` is a complex tensor, as pairs of float64.
Extra state that JSON changes is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg import guard
from thalweg.errors import UserError
from thalweg.shown import brief
from thalweg.store.files import Files

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.contracts.probe import SavedWeights

FOLDER = "weights"
KEPT = ("initial", "final", "trajectory")
"""Names of the files."""
_JSON, _COMPLEX = "json:", "complex128:"


def weight_tables(weights: SavedWeights, trajectory: bool) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file: initial and final state, and with ``trajectory`` parameters (T, P) at steps (T,)."""
    import torch

    found = {name: _stored(state) for name, state in (("initial", weights.initial), ("final", weights.final)) if state}
    if trajectory and weights.trajectory is not None:
        steps = torch.tensor(weights.trajectory_steps)
        found["trajectory"] = {"parameters": weights.trajectory, "steps": steps}
    return found


def write_weights(tables: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
    """Write each table into the file of its name."""
    if tables:
        from safetensors.torch import save_file

        (folder / FOLDER).mkdir()
        for name, tensors in tables.items():
            contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
            path = folder / FOLDER / f"{name}.safetensors"
            # safetensors makes files that only their owner can read; a results folder decides who may read it
            path.touch()
            mode = path.stat().st_mode & 0o777
            save_file(contiguous, path)
            path.chmod(mode)


def has_weights(files: Files, name: str) -> bool:
    """Whether a trial has a file of weights of that name."""
    try:
        files.check(f"{FOLDER}/{name}.safetensors")
    except OSError:
        return False
    return True


def read_weights(files: Files) -> SavedWeights:
    """The weights that were saved of a trial.

    Raises:
        UserError: a file of weights cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from thalweg.contracts.probe import SavedWeights

    found: dict[str, dict[str, Any]] = {}
    for name in KEPT:
        place = f"{FOLDER}/{name}.safetensors"
        try:
            files.check(place)
            found[name] = _restored(load(files.read(place, guard.limit_of(place))))
            if name == "trajectory":
                _check_trajectory(found[name])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, LookupError, RecursionError, AssertionError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"{files.path / place} cannot be read: {reason}") from error
    way = found.get("trajectory")
    if way is None:
        return SavedWeights(found.get("initial"), found.get("final"))
    return SavedWeights(found.get("initial"), found.get("final"), way["parameters"], tuple(way["steps"].tolist()))


def _check_trajectory(way: Mapping[str, Any]) -> None:
    """ValueError unless there are whole ``steps`` (T,) and real ``parameters`` (T, P), with T >= 1."""
    import torch

    steps, parameters = way.get("steps"), way.get("parameters")
    whole = (torch.int64, torch.int32)
    if steps is None or steps.dtype not in whole or parameters is None or not parameters.is_floating_point():
        raise ValueError("a trajectory has whole 'steps' and 'parameters' with fractions")
    if steps.ndim != 1 or parameters.ndim != 2 or not 0 < len(steps) == len(parameters):
        shapes = f"{tuple(steps.shape)} and {tuple(parameters.shape)}"
        raise ValueError(f"a trajectory has steps (T,) and parameters (T, P) with one T above zero, not {shapes}")


def _stored(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """A state dict as tensors that safetensors can hold."""
    import torch

    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            text = _as_json(value)
            if text is not None:
                found[_JSON + name] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        elif value.dtype == torch.complex128:
            found[_COMPLEX + name] = torch.view_as_real(value.resolve_conj())
        else:
            found[name] = value
    return found


def _restored(found: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state dict of tensors that ``_stored`` made."""
    import torch

    state: dict[str, Any] = {}
    for name, tensor in found.items():
        if name.startswith(_JSON):
            if tensor.dtype != torch.uint8 or tensor.ndim != 1:
                raise ValueError(f"{brief(name)} is no text: {tensor.dtype} of shape {tuple(tensor.shape)}")
            state[name.removeprefix(_JSON)] = json.loads(bytes(tensor.numpy()))
        elif name.startswith(_COMPLEX):
            if tensor.dtype != torch.float64 or tensor.shape[-1:] != (2,):
                raise ValueError(f"{brief(name)} has no pairs of float64: {tensor.dtype}, {tuple(tensor.shape)}")
            # not view_as_complex, which needs 16 bytes of alignment: the file promises 8
            state[name.removeprefix(_COMPLEX)] = torch.complex(*tensor.unbind(-1))
        else:
            state[name] = tensor
    return state


def _as_json(value: Any) -> str | None:
    """The value as JSON; None where JSON changes the value, such as a tuple, which becomes a list."""
    try:
        text = json.dumps(value)
        return text if _same(json.loads(text), value) else None
    except (TypeError, ValueError):
        return None


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, with equal types at every level."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
