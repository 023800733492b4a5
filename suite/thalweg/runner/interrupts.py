"""Ctrl-C: the first lets the runner finish what it writes and is never lost; a second ends everything at once."""

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
from thalweg.runner.exits import end_now


@contextlib.contextmanager
def finish_writing() -> Iterator[None]:
    """While active, signals that would end this process wait. Contexts may be nested."""
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


_came: list[int] = []
"""The Ctrl-C of the command at work."""


def heed() -> None:
    """Raise KeyboardInterrupt if a Ctrl-C came, whatever became of the exception that the Ctrl-C raised.

    The exception may end in code of others that catches everything. Python up to 3.11 turns the exception into a
    RuntimeError if a class is being made, as it is while a module is imported.
    """
    if _came and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While active, ``heed`` knows of a Ctrl-C, and a second one ends this process and its workers.

    The second one ends them even during a call into C. Python handles a signal only between two of its own
    instructions. But the system's handler writes the number of each signal to a socket, and a thread can read the
    socket as soon as it gets Python's lock.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _second_ends_at_once(), _remembered():
        yield


@contextlib.contextmanager
def _remembered() -> Iterator[None]:
    def remember(number: int, frame: FrameType | None) -> None:
        _came.append(number)
        signal.default_int_handler(number, frame)

    _came.clear()
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # it is ignored, or handled by the caller
        yield
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _came.clear()


@contextlib.contextmanager
def _second_ends_at_once() -> Iterator[None]:
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
    """Kill the workers, restore the terminal's cursor and end. Results on disk are whole at any moment."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")
    os.write(2, b"\ninterrupted twice: ended at once\n")
    end_now(ExitCode.INTERRUPTED)
