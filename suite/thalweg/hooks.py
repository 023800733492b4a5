"""Calls life-cycle hooks. A plugin that fails in a hook costs no result."""

from __future__ import annotations

import copy
from typing import Any

from thalweg.failure import Failure
from thalweg.printed import aside
from thalweg.registry import Registry
from thalweg.trial import Trial


def call_hook(registry: Registry, name: str, errors: dict[str, Failure], **arguments: Any) -> None:
    """Call a hook of all plugins with a copy of the trial, so that a hook cannot change what is trained or saved.

    An exception is kept in ``errors`` as ``hook NAME``.
    """
    if not has_hook(registry, name):
        return
    given = {key: copy.deepcopy(value) if isinstance(value, Trial) else value for key, value in arguments.items()}
    try:
        with aside():
            getattr(registry.manager.hook, name)(**given)
    except (Exception, SystemExit) as error:  # a plugin's sys.exit ends neither its trial nor the run
        errors[f"hook {name}"] = Failure.of(error)


def has_hook(registry: Registry, name: str) -> bool:
    """Whether a plugin implements a hook."""
    return bool(getattr(registry.manager.hook, name).get_hookimpls())
