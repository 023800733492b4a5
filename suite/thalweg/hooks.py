"""Calls life-cycle hooks. A plugin that fails in a hook costs no result."""

from __future__ import annotations

from typing import Any

from thalweg.failure import Failure
from thalweg.registry import Registry


def call_hook(registry: Registry, name: str, errors: dict[str, Failure], **arguments: Any) -> None:
    """Call a hook of all plugins. An exception is kept in ``errors`` as ``hook NAME``."""
    try:
        getattr(registry.manager.hook, name)(**arguments)
    except Exception as error:
        errors[f"hook {name}"] = Failure.of(error)


def has_hook(registry: Registry, name: str) -> bool:
    """Whether a plugin implements a hook."""
    return bool(getattr(registry.manager.hook, name).get_hookimpls())
