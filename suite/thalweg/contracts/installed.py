"""Which installed package a module belongs to."""

from __future__ import annotations

import importlib.metadata
from functools import cache


def package_of(module: str) -> tuple[str, str] | None:
    """The name and the version of the package that installed a module; None for a module of no package.

    >>> package_of("torch.optim.sgd")[0]
    'torch'
    """
    names = _distributions().get(module.partition(".")[0], ())
    return (names[0], importlib.metadata.version(names[0])) if names else None


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
