"""Memory that a process keeps: without it most of a short computation is spent on fresh pages.

By default glibc gives large tensors back to the system as soon as they are freed, so that each next one is made of
pages that the kernel clears first. A surface of a small convolutional network takes several times as long for it.
"""

from __future__ import annotations

import os

from thalweg.errors import UserError, unknown

SWITCH = "THALWEG_ALLOCATOR"
MMAP_THRESHOLD = 32 << 20
"""Blocks above it are mapped one by one; glibc takes no more on 64 bits."""
TRIM_THRESHOLD = 1 << 30
"""Bytes free at the end of the heap before any are given back."""
TOP_PAD = 64 << 20
"""Bytes by which the heap grows beyond what is asked for."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_NAMES = ("mmap threshold", "trim threshold", "top pad")


_set: list[str] = []


def set_allocator() -> None:
    """Let glibc keep the memory that is freed: once for a process, before it computes.

    Nothing is set with ``THALWEG_ALLOCATOR=system``, where the environment sets up an allocator already
    (``MALLOC_...``, or one in ``GLIBC_TUNABLES`` or ``LD_PRELOAD``), and without glibc. See mallopt(3).

    Raises:
        UserError: another value of ``THALWEG_ALLOCATOR``.
    """
    switch = os.environ.get(SWITCH, "")
    if switch not in ("", "tuned", "system"):
        raise UserError(f"{SWITCH} = {switch!r}: {unknown('value', switch, ('tuned', 'system'))}")
    if switch == "system" or _given() or _set:
        return
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, AttributeError, OSError):
        return
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_THRESHOLD, MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, TRIM_THRESHOLD), (_M_TOP_PAD, TOP_PAD))
    if all(mallopt(*setting) for setting in settings):
        told = [f"{name} {size >> 20} MiB" for name, size in zip(_NAMES, (s for _, s in settings), strict=True)]
        _set.append(f"{libc}: {', '.join(told)}")


def allocator() -> str:
    """How this process allocates, as it is recorded with trials: ``system`` where nothing was set."""
    if _set:
        return _set[0]
    given = _given()
    return f"system, with {', '.join(given)}" if given else "system"


def _given() -> list[str]:
    """The environment's variables that set up an allocator."""
    names = [name for name in os.environ if name.startswith("MALLOC_")]
    return sorted(names + [name for name in ("GLIBC_TUNABLES", "LD_PRELOAD") if "malloc" in os.environ.get(name, "")])
