"""Processes that begin as copies of one that has imported what a run needs, which takes each new one four seconds."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OF_THE_START = ("LD_", "PYTHON", "OMP_", "MALLOC_", "GLIBC_")
"""How variables begin that a process reads when it starts, and a copy would not see. A copy reads PYTHONPATH too."""

ORIGINAL = """
import gc, json, os, signal, socket, sys
import pandas, pyarrow.parquet, scipy.special, torch._dynamo
import thalweg.commands.run, thalweg.runner.work, thalweg.registry

thalweg.registry.load_registry()
# the copies need not look through what is imported, which takes each of them a second at its end
gc.collect()
gc.freeze()
asked = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    text, files, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    if not text:
        os._exit(0)
    if not os.fork():  # a process that waits for the copy, and tells how it ends
        break
    for file in files:
        os.close(file)

asked.close()
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
out, err, told = files
copy = os.fork()
if copy:
    os.close(out)
    os.close(err)
    os.write(told, b"%d\\n" % copy)
    os.write(told, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))
    os._exit(0)

os.dup2(out, 1)
os.dup2(err, 2)
for file in files:
    os.close(file)
words, folder, environment = json.loads(text)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
more = environment.get("PYTHONPATH", "").split(os.pathsep)
sys.path[1:1] = [place for place in more if place not in ("", *sys.path)]
sys.argv = ["-c", *words]
"""


class Copy(subprocess.Popen[str]):
    """A running copy that then runs a program, as a process of which this one is no parent."""

    def __init__(self, words: tuple[str, ...], folder: Path, environment: Mapping[str, str], program: str) -> None:
        ends = [os.pipe() for _ in range(3)]
        text = json.dumps([words, str(folder), dict(environment)]).encode()
        socket.send_fds(_original(program)[0], [text], [written for _, written in ends])
        for _, written in ends:
            os.close(written)
        self.args, self.returncode, self.stdin = words, None, None
        self.stdout, self.stderr, self._told = (os.fdopen(read, encoding="utf-8") for read, _ in ends)
        self.pid = int(self._told.readline())
        self._waiting = threading.Thread(target=self._wait_for_the_end, daemon=True)
        self._waiting.start()

    def _wait_for_the_end(self) -> None:
        self.returncode = int(self._told.readline())
        self._told.close()

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once there is one."""
        self._waiting.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def communicate(self, _: None = None, timeout: float | None = None) -> tuple[str, str]:
        """What it writes to the end."""
        said = ["", ""]

        def read(number: int, stream: Any) -> None:
            with stream:
                said[number] = stream.read()

        streams = enumerate((self.stdout, self.stderr))
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return said[0], said[1]

    def send_signal(self, sig: int) -> None:
        """Send a signal to the copy, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, sig)


def can_be_copied(environment: Mapping[str, str]) -> bool:
    """Whether a copy would see everything in the environment that a new process sees."""
    both = (environment, os.environ)
    mine, its = (
        {key: each[key] for key in each if key.startswith(OF_THE_START) and key != "PYTHONPATH"} for each in both
    )
    return mine == its and hasattr(os, "fork")


@functools.cache
def _original(program: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Where copies are asked for, and the original, which ends with this process."""
    ours, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-c", ORIGINAL + program, str(its.fileno())]
        # pipes, as its copies have
        return ours, subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
