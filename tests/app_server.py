"""Starts ``thalweg app`` as a process, as users do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest


class Serving(NamedTuple):
    """The running command, the file of its output, and the address that it has printed."""

    process: subprocess.Popen[bytes]
    log: Path
    printed: str

    @property
    def port(self) -> int:
        """The port on which the app listens."""
        return urlsplit(self.printed).port or 0

    @property
    def token(self) -> str:
        """The token in the address; empty for an address without a token."""
        return parse_qs(urlsplit(self.printed).query).get("token", [""])[0]

    @property
    def base(self) -> str:
        """The address without the token, and without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> Iterator[Serving]:
    """Serve the app on a free port inside the context. The app must end on SIGINT."""
    # a child of a test run in the background would ignore SIGINT
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "from thalweg.cli import main; main()"
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "app", "--port", "0", *words],
            cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | dict(environment or {}),
        )  # fmt: skip
    try:
        yield Serving(process, log, _printed(process, log))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _printed(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        said = log.read_text(encoding="utf-8")
        if found := re.search(r"^thalweg's app: (http://\S+)$", said, re.MULTILINE):
            return found[1]
        assert process.poll() is None, said
        time.sleep(0.1)
    pytest.fail(f"the app did not start: {log.read_text(encoding='utf-8')}")
