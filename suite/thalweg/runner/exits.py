"""What becomes of a component that ends the whole process with ``os._exit``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn

from thalweg.exit_codes import ExitCode

end_now = os._exit
"""The system's own ``os._exit``."""


@contextlib.contextmanager
def exits_are_failures() -> Iterator[None]:
    """While active, a call of ``os._exit`` is reported on standard error and never looks like a command's own end.

    A status of 0 would tell a CI job, or the pool of a worker, that the work is done. ``ExitCode.FAILED`` takes the
    place of each status that has a meaning. Processes forked from this one end as they ask.
    """
    own, before = os.getpid(), os._exit

    def told(status: int) -> NoReturn:
        if os.getpid() != own:
            end_now(status)
        from thalweg.printed import aside  # most commands never need it

        with aside():
            os.write(2, f"\nerror: a component ended the process with os._exit({status})\n".encode())
        end_now(ExitCode.FAILED if status in set(ExitCode) else status)

    os._exit = told
    try:
        yield
    finally:
        os._exit = before
