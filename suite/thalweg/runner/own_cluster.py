"""A dask cluster of this machine's processes that this user alone can reach.

A task is code: who reaches a scheduler or a worker runs what they like as the user whose cluster it is. Loopback is
open to every user of the machine. So every connection is TLS with a certificate that exists in these processes alone,
and dask's pages over HTTP are not served.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import distributed

from thalweg.errors import UserError

_library: Any = distributed  # its functions have no types
HOST = "127.0.0.1"


class _Quiet:
    """A node that has no pages. dask's own option leaves out the dashboard and keeps the other pages."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no socket."""


class QuietScheduler(_Quiet, _library.Scheduler):  # type: ignore[misc]
    """A scheduler without pages."""


class QuietWorker(_Quiet, _library.Worker):  # type: ignore[misc]
    """A worker without pages."""


@contextmanager
def own_cluster(workers: int, memory: int) -> Iterator[Any]:
    """The cluster, of so many processes with one thread each, until the context ends.

    Args:
        workers: how many.
        memory: bytes that each may use.

    Raises:
        UserError: what makes certificates is not installed.
    """
    try:
        # in memory, handed to workers through the pipes that start them
        security = _library.Security.temporary()
    except ImportError as error:
        raise UserError(f"executor 'dask' needs cryptography: pip install 'thalweg[dask]' ({error})") from error
    # dask's own folder has one name for all users, and workers look for modules in it
    with tempfile.TemporaryDirectory(prefix="thalweg-dask-", ignore_cleanup_errors=True) as folder:
        every: dict[str, Any] = {"host": HOST, "protocol": "tls://", "security": security}
        worker = {
            "cls": _library.Nanny,
            "options": every
            | {
                "worker_class": QuietWorker,
                "nthreads": 1,
                "memory_limit": memory,
                "local_directory": folder,
                "silence_logs": logging.CRITICAL,
                "dashboard": False,
            },
        }
        scheduler = {"cls": QuietScheduler, "options": every | {"port": 0, "dashboard": False}}
        with _library.SpecCluster(
            workers=dict.fromkeys(range(workers), worker),
            scheduler=scheduler,
            worker=worker,
            security=security,
            silence_logs=logging.CRITICAL,
        ) as cluster:
            yield cluster
