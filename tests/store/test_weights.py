"""Every value of a state dict comes back unchanged from disk, or is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from thalweg.contracts.probe import SavedWeights
from thalweg.errors import UserError
from thalweg.store.files import FolderFiles
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
    saved = read_weights(FolderFiles(folder))
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


PATH_OF = {"steps": torch.arange(3), "parameters": torch.zeros(3, 2)}

STRANGE: dict[str, tuple[str, dict[str, torch.Tensor], str]] = {
    "text of another type": ("final", {"json:a": torch.ones(4, dtype=torch.bfloat16)}, "'json:a' is no text"),
    "text of no shape": ("final", {"json:a": torch.tensor(3, dtype=torch.uint8)}, "'json:a' is no text"),
    "deep text": ("final", {"json:a": torch.full((100_000,), ord("["), dtype=torch.uint8)}, "recursion"),
    "threes for pairs": ("final", {"complex128:a": torch.ones(3, 3, dtype=torch.float64)}, "no pairs of float64"),
    "whole pairs": ("final", {"complex128:a": torch.ones(3, 2, dtype=torch.int64)}, "no pairs of float64"),
    "a pair that is none": ("final", {"complex128:a": torch.tensor(1.0, dtype=torch.float64)}, "no pairs of float64"),
    "a way without steps": ("trajectory", {"parameters": PATH_OF["parameters"]}, "whole 'steps'"),
    "a way without parameters": ("trajectory", {"steps": PATH_OF["steps"]}, "'parameters'"),
    "a way of nothing": ("trajectory", {}, "whole 'steps'"),
    "a way of more steps": ("trajectory", {**PATH_OF, "steps": torch.arange(4)}, "(4,) and (3, 2)"),
    "a way of one number": ("trajectory", {**PATH_OF, "steps": torch.tensor(3)}, "() and (3, 2)"),
    "a way without points": ("trajectory", {key: one[:0] for key, one in PATH_OF.items()}, "(0,) and (0, 2)"),
    "a way of fractions": ("trajectory", {**PATH_OF, "steps": torch.rand(3)}, "whole 'steps'"),
    "whole parameters": ("trajectory", {**PATH_OF, "parameters": torch.ones(3, 2, dtype=torch.int64)}, "fractions"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_file_of_something_else_is_refused_by_its_name(kind: str, tmp_path: Path) -> None:
    name, tensors, says = STRANGE[kind]
    write_weights({name: tensors}, tmp_path)
    with pytest.raises(UserError, match=re.escape(says)) as refusal:
        read_weights(FolderFiles(tmp_path))
    assert f"{name}.safetensors cannot be read" in str(refusal.value)
