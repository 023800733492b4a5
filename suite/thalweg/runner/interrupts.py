"""Ctrl-C: what is being written is finished first; a second one ends everything at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import psutil

from thalweg.exit_codes import ExitCode


@contextlib.contextmanager
def finish_writing() -> Iterator[None]:
    """Signals that would end this process wait until the block is through. May be nested."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for came_in in came:
            signal.raise_signal(came_in)


@contextlib.contextmanager
def second_ends_at_once() -> Iterator[None]:
    """A second Ctrl-C in the block ends this process and its workers, also while the first waits for a call into C.

    Python answers a signal between two of its own instructions only. The number of each signal is written to a socket
    by the system's handler, though, and a thread that reads it needs no more than Python's lock.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, told = socket.socketpair()
    told.setblocking(False)
    threading.Thread(target=_listen, args=(ours,), daemon=True).start()
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        told.close()


def _listen(ours: socket.socket) -> None:
    left = 2
    with ours:
        while numbers := ours.recv(64):
            left -= numbers.count(signal.SIGINT)
            if left <= 0:
                _end_now()


def _end_now() -> None:
    """Kill the workers and end, with the terminal's cursor back: what is on disk is whole at any moment."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")
    os.write(2, b"\ninterrupted twice: ended at once\n")
    os._exit(ExitCode.INTERRUPTED)
