"""What a state dict may hold comes back from disk as it was, or is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from thalweg.contracts.probe import SavedWeights
from thalweg.store.weights import read_weights, weight_tables, write_weights

TENSORS = {
    "float32": torch.arange(6.0).view(2, 3),
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "number": torch.tensor(2.5, dtype=torch.float64),
    "whole": torch.arange(3),
    "mask": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
    "complex64": torch.tensor([1 + 2j, -3j]),
    "complex128": torch.tensor([[1 + 2j], [-3j]], dtype=torch.complex128),
    "complex number": torch.tensor(1 / 3 - 2j, dtype=torch.complex128),
    "conjugate": torch.tensor([1 + 2j, -3j], dtype=torch.complex128).conj(),
}
EXTRA: dict[str, Any] = {"a._extra_state": {"calls": 3, "rates": [0.1, None, True], "name": "µ"}, "_extra_state": {}}
NO_JSON: dict[str, Any] = {
    "tuple": (1, 2),
    "keys that are numbers": {1: 2},
    "set": {1},
    "nan": [float("nan")],
    "object": object(),
    "tensor within": {"a": torch.ones(2)},
}


def returned(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    write_weights(weight_tables(SavedWeights(state, state), trajectory=False), folder)
    saved = read_weights(folder)
    assert saved.initial is not None
    assert saved.final is not None
    assert saved.initial.keys() == saved.final.keys()
    return saved.final


def test_tensors_of_every_kind_come_back(tmp_path: Path) -> None:
    found = returned(TENSORS, tmp_path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_extra_state_comes_back_beside_tensors(tmp_path: Path) -> None:
    found = returned(TENSORS | EXTRA, tmp_path)
    assert {name: found[name] for name in EXTRA} == EXTRA


@pytest.mark.parametrize("kind", NO_JSON)
def test_what_json_would_change_is_left_out(kind: str, tmp_path: Path) -> None:
    found = returned({"w": torch.ones(1), "_extra_state": {"here": NO_JSON[kind]}}, tmp_path)
    assert list(found) == ["w"]
