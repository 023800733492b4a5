"""What becomes of a component that ends the whole process with ``os._exit``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn

from thalweg.exit_codes import ExitCode
from thalweg.printed import aside

end_now = os._exit
"""The system's own ``os._exit``."""


@contextlib.contextmanager
def exits_are_failures() -> Iterator[None]:
    """While active, ``os._exit`` ends this process with ``ExitCode.FAILED``, whatever its status, and stderr tells it.

    A status of 0 would tell a CI job that the command had done its work. Processes forked from this one end as they
    ask.
    """
    own = os.getpid()

    def told(status: int) -> NoReturn:
        if os.getpid() != own:
            end_now(status)
        with aside():
            os.write(2, f"\nerror: a component ended the process with os._exit({status})\n".encode())
        end_now(ExitCode.FAILED)

    os._exit = told
    try:
        yield
    finally:
        os._exit = end_now
