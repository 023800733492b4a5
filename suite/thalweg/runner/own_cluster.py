"""A dask cluster on this machine that only this user can reach.

A task is code, so whoever reaches a scheduler or a worker can run any code as the cluster's user. Every user of the
machine can reach the loopback address. So every connection is TLS, with a certificate that exists in these processes
alone, and dask's HTTP pages are switched off.
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
    """A node without HTTP pages. dask's own option switches off the dashboard and keeps the other pages."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no socket."""


class QuietScheduler(_Quiet, _library.Scheduler):  # type: ignore[misc]
    """A scheduler without pages."""


class QuietWorker(_Quiet, _library.Worker):  # type: ignore[misc]
    """A worker without pages."""


@contextmanager
def own_cluster(workers: int, memory: int) -> Iterator[Any]:
    """A cluster of processes with one thread each, which ends with the context.

    Args:
        workers: the number of processes.
        memory: the bytes that each process may use.

    Raises:
        UserError: the package that makes certificates is not installed.
    """
    try:
        # certificates stay in memory; workers get them through the pipes that start them
        security = _library.Security.temporary()
    except ImportError as error:
        raise UserError(f"executor 'dask' needs cryptography: pip install 'thalweg[dask]' ({error})") from error
    # dask's folder has one name for all users, and workers look for modules in it
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
