"""Builds registered architectures for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from thalweg.contracts import Shape
from thalweg.contracts.option import resolve
from thalweg.registry import Registry


def build(registry: Registry, name: str, shape: Shape, given: dict[str, Any] | None = None) -> nn.Module:
    architecture = registry.architecture(name)
    options = resolve(architecture.options, given or {}, name)
    assert architecture.misfit(options, shape) is None
    torch.manual_seed(0)
    return architecture.build(options, shape)


def misfit(registry: Registry, name: str, shape: Shape, given: dict[str, Any] | None = None) -> str | None:
    architecture = registry.architecture(name)
    return architecture.misfit(resolve(architecture.options, given or {}, name), shape)
