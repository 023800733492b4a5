"""Landscapes and probes on a GPU agree with the CPU; in float64, so that two steps of training do not part them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from probing import NETWORKS, trained
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.landscape.evaluate import Plane, flat, losses_at
from thalweg.registry import Registry, load_registry
from thalweg.testing.probes import CHEAP
from thalweg.testing.small import network, problem
from thalweg.training.costs import costs_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
REGISTRY = load_registry()
PROBES = [entry.name for entry in REGISTRY.entries("probes") if set(entry.component.when) != {"pair"}]


def moved(data: Supervised, device: str) -> Supervised:
    there = {split: (x.to(device), y.to(device)) for split, (x, y) in data.data.items()}
    return Supervised(there, data.output_loss, data.metrics)


@pytest.mark.parametrize("method", ["auto", "walk", "stack", "plain"])
@pytest.mark.parametrize("batch_norm", ["running", "batch", "re-estimated"])
def test_surfaces_agree(method: Any, batch_norm: Any) -> None:
    found = []
    for device in ("cpu", "cuda"):
        module, data = network(torch.float64).to(device), moved(problem(torch.float64), device)
        before = copy.deepcopy(module.state_dict())
        generator = torch.Generator().manual_seed(0)
        d1, d2 = (filter_normalized(module, random_direction(module, generator)) for _ in range(2))
        plane = Plane(flat(module), d1, d2, [-1.0, 0.0, 1.0], [-1.0, -0.5, 0.0])
        found.append(losses_at(module, data, plane, batch_norm=batch_norm, method=method)["loss"].cpu())
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda architecture: architecture.name)
@pytest.mark.parametrize("name", PROBES)
def test_probes_agree(registry: Registry, name: str, architecture: Any) -> None:
    probe = registry.probe(name)
    options = {option.name for option in probe.options}
    given = {option: value for option, value in CHEAP.items() if option in options}
    given |= {"dtype": "float64"} if "dtype" in options else {}
    resolve(probe.options, given, name)
    cpu, cuda = (
        trained(registry, name, architecture, {"dtype": "float64", "device": device}, **given)
        for device in ("cpu", "cuda")
    )
    assert list(cpu.columns) == list(cuda.columns)
    assert len(cpu) == len(cuda)
    for column in cpu:
        if pd.api.types.is_float_dtype(cpu[column]):
            scale = np.nanmax(np.abs(cpu[column].to_numpy()), initial=0.0)
            np.testing.assert_allclose(cuda[column], cpu[column], rtol=1e-5, atol=1e-7 * scale, err_msg=str(column))
        else:
            assert list(cpu[column]) == list(cuda[column])


def test_a_network_costs_as_much_on_a_gpu() -> None:
    module, data = network(torch.float64), problem(torch.float64)
    assert costs_of(copy.deepcopy(module).to("cuda"), moved(data, "cuda")) == costs_of(module, data)
