"""What thalweg found out about foreign optimizers, kept by class and version in the user's cache, signed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from thalweg import __version__, signed
from thalweg.contracts import Optimizer
from thalweg.guard import Refused
from thalweg.own import cache_folder, signing_key

PLAIN: dict[str, Any] = {"closure": False, "create_graph": False, "modes": True}
"""What a plain class has of each convention; ``modes`` of a class that has ``train()`` and ``eval()``."""

_LARGEST = 1000
"""Bytes of a kept answer at most."""

_known: dict[str, dict[str, Any]] = {}
"""Answers of this process by subject; without a key, nothing is kept on disk."""


def known(optimizer: Optimizer, provider: tuple[str, str, str | None]) -> dict[str, Any] | None:
    """The conventions that were found and differ from a plain class's; None where nobody has looked yet.

    An optimizer without open conventions has none to be found.

    Args:
        optimizer: the registered optimizer.
        provider: its plugin's name, version and digest of sources.
    """
    if not optimizer.open_conventions:
        return {}
    subject = _subject(optimizer, provider)
    if subject not in _known:
        with (
            suppress(OSError, Refused, ValueError),
            signed.content(_path(subject), subject, signing_key(), _LARGEST) as file,
        ):
            if file is not None:
                found = json.loads(file.read())
                _known[subject] = {key: found[key] for key in optimizer.open_conventions if key in found}
    return _known.get(subject)


def keep(optimizer: Optimizer, provider: tuple[str, str, str | None], found: Mapping[str, Any]) -> None:
    """Keep what was found; where the cache cannot be written, this process alone keeps it."""
    subject = _subject(optimizer, provider)
    _known[subject] = dict(found)
    with suppress(OSError, Refused):
        path = _path(subject)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        signed.write(path, subject, signing_key(), lambda file: file.write(json.dumps(dict(found)).encode()))


def _path(subject: str) -> Path:
    return cache_folder() / "conventions" / hashlib.sha256(subject.encode()).hexdigest()[:32]


def _subject(optimizer: Optimizer, provider: tuple[str, str, str | None]) -> str:
    """Everything that an answer depends on."""
    versions = [__version__, _torch_version()]
    return json.dumps([versions, optimizer.identity, optimizer.name, list(optimizer.open_conventions), *provider])


@cache
def _torch_version() -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("torch")
    return ""
