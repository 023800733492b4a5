"""A dask cluster of separate processes, which tests use and kill."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Cluster(NamedTuple):
    """The scheduler's address, and the processes of the cluster."""

    address: str
    scheduler: subprocess.Popen[str]
    workers: list[subprocess.Popen[str]]


@contextlib.contextmanager
def cluster(
    folder: Path,
    workers: int = 2,
    hidden: Path | None = None,
    settings: Mapping[str, str] | None = None,
    threads: int = 1,
) -> Iterator[Cluster]:
    """A scheduler and workers in separate processes, started by dask's commands.

    Workers see the folder ``hidden`` as empty. ``settings`` are environment variables of dask; with certificates among
    them the cluster uses TLS.
    """
    protocol = "tls" if settings else "tcp"
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
        environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"} | dict(settings or {})
        process = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
        )
        started.append(process)
        return process

    try:
        scheduler = start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--protocol", protocol
        )
        assert scheduler.stderr is not None
        addresses = (re.search(rf"{protocol}://127\.0\.0\.1:\d+", line) for line in scheduler.stderr)
        address = next(found.group() for found in addresses if found)
        before = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs tmpfs {hidden} && exec "$0" "$@"') if hidden else ()
        members = [
            start(
                "dask_worker",
                address,
                "--nthreads",
                str(threads),
                "--no-nanny",
                "--no-dashboard",
                "--local-directory",
                ".",
                before=before,
            )
            for _ in range(workers)
        ]
        yield Cluster(address, scheduler, members)
    finally:
        for process in started:
            process.kill()
            process.communicate()
