"""Lets a process keep freed memory, because a short computation spends most of its time on fresh pages otherwise.

By default glibc gives a large tensor back to the system as soon as it is freed. The next tensor is then made of pages
that the kernel clears first. A surface of a small convolutional network takes several times as long that way.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from thalweg.errors import UserError, unknown

SWITCH = "THALWEG_ALLOCATOR"
MMAP_THRESHOLD = 32 << 20
"""Blocks of more bytes are mapped one by one. glibc accepts no larger threshold on 64 bits."""
TRIM_THRESHOLD = 1 << 30
"""Free bytes at the end of the heap from which glibc gives memory back."""
TOP_PAD = 64 << 20
"""Bytes by which the heap grows beyond each request."""
ARENAS = 2
"""Arenas of a server: each keeps what its threads have freed, and Python runs one thread at a time."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_NAMES = ("mmap threshold", "trim threshold", "top pad")


_set: list[str] = []


def set_allocator() -> None:
    """Let glibc keep freed memory. Called once in a process, before it computes.

    Nothing is set with ``THALWEG_ALLOCATOR=system`` or without glibc. Nothing is set either where the environment
    already configures an allocator by ``MALLOC_...``, ``GLIBC_TUNABLES`` or ``LD_PRELOAD``. See mallopt(3).

    Raises:
        UserError: another value of ``THALWEG_ALLOCATOR``.
    """
    mallopt = _mallopt()
    if mallopt is None or _set:
        return
    settings = ((_M_MMAP_THRESHOLD, MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, TRIM_THRESHOLD), (_M_TOP_PAD, TOP_PAD))
    if all(mallopt(*setting) for setting in settings):
        told = [f"{name} {size >> 20} MiB" for name, size in zip(_NAMES, (s for _, s in settings), strict=True)]
        _set.append(f"{os.confstr('CS_GNU_LIBC_VERSION')}: {', '.join(told)}")


def set_server_allocator() -> None:
    """Let glibc make few arenas, so that a server of many threads keeps little freed memory.

    Nothing is set where :func:`set_allocator` sets nothing.

    Raises:
        UserError: another value of ``THALWEG_ALLOCATOR``.
    """
    if mallopt := _mallopt():
        mallopt(_M_ARENA_MAX, ARENAS)


def _mallopt() -> Callable[[int, int], int] | None:
    """glibc's function; None where the user or the system wants another allocator."""
    switch = os.environ.get(SWITCH, "")
    if switch not in ("", "tuned", "system"):
        raise UserError(f"{SWITCH} = {switch!r}: {unknown('value', switch, ('tuned', 'system'))}")
    if switch == "system" or _given():
        return None
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, AttributeError, OSError):
        return None
    import ctypes

    found: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    return found


def allocator() -> str:
    """How this process allocates memory, as trials record it: ``system`` where nothing was set."""
    if _set:
        return _set[0]
    given = _given()
    return f"system, with {', '.join(given)}" if given else "system"


def _given() -> list[str]:
    """The environment variables that configure an allocator."""
    names = [name for name in os.environ if name.startswith("MALLOC_")]
    return sorted(names + [name for name in ("GLIBC_TUNABLES", "LD_PRELOAD") if "malloc" in os.environ.get(name, "")])
