"""Weights on disk: ``weights/*.safetensors`` of a trial. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.contracts.probe import SavedWeights

FOLDER = "weights"


def weight_tables(weights: SavedWeights, trajectory: bool) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file: initial and final state, and with ``trajectory`` parameters (T, P) at steps (T,)."""
    import torch

    found = {name: state for name, state in (("initial", weights.initial), ("final", weights.final)) if state}
    if trajectory and weights.trajectory is not None:
        steps = torch.tensor(weights.trajectory_steps)
        found["trajectory"] = {"parameters": weights.trajectory, "steps": steps}
    return found


def write_weights(tables: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
    """Write each into a file of its name."""
    if tables:
        from safetensors.torch import save_file

        (folder / FOLDER).mkdir()
        for name, tensors in tables.items():
            contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
            save_file(contiguous, folder / FOLDER / f"{name}.safetensors")


def has_weights(folder: Path, name: str) -> bool:
    """Whether a trial has a file of that name."""
    return (folder / FOLDER / f"{name}.safetensors").is_file()


def read_weights(folder: Path) -> SavedWeights:
    """What was saved of a trial.

    Raises:
        UserError: a file is there and cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from thalweg.contracts.probe import SavedWeights

    found: dict[str, dict[str, Tensor]] = {}
    for name in ("initial", "final", "trajectory"):
        path = folder / FOLDER / f"{name}.safetensors"
        if path.is_file():
            try:
                found[name] = load_file(path)
            except (OSError, SafetensorError) as error:
                raise UserError(f"{path} cannot be read: {error}") from error
    way = found.get("trajectory", {})
    steps = tuple(way["steps"].tolist()) if way else ()
    return SavedWeights(found.get("initial"), found.get("final"), way.get("parameters"), steps)
