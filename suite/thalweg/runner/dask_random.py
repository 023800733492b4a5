"""Keeps dask away from Python's global random generator, from which a trial may draw."""

from __future__ import annotations

import random
import sys
from types import ModuleType


def leave_random_alone() -> None:
    """Give the modules of dask that are imported a generator of their own.

    A worker's event loop draws while a trial trains in another thread: for the wait before it connects once more, and
    to weigh a list that it gets. Each such number would be missing in the trial.
    """
    shared = random.random.__self__  # type: ignore[attr-defined]
    own = random.Random()
    # a module, since dask also takes classes from it
    stand_in = ModuleType(random.__name__)
    vars(stand_in).update(vars(random))
    for name, value in vars(random).items():
        if getattr(value, "__self__", None) is shared:
            setattr(stand_in, name, getattr(own, name))
    for module in [each for name, each in sys.modules.items() if name.partition(".")[0] in ("dask", "distributed")]:
        for name, value in list(vars(module).items()):
            if value is random:
                setattr(module, name, stand_in)
            elif getattr(value, "__self__", None) is shared:
                setattr(module, name, getattr(own, value.__name__))
