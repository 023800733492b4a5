"""The process that computes for the playground: one for all visitors, kept warm, and started anew when it hangs."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

import streamlit as st

from thalweg.app.data import plugin_files
from thalweg.errors import UserError
from thalweg.playground.requests import Answer, GroundRequest, Question, WalkRequest

LIMIT = 5.0
"""Seconds that one answer may take."""
START_LIMIT = 60.0
"""Seconds that the process may take to import torch and to load the plugins."""


_PROGRAM = """
import os, sys
sys.path[:] = sys.argv.pop(1).split(os.pathsep)
from thalweg.playground.worker import main
main()
"""


class Worker:
    """A process that answers one question at a time. Visitors wait for each other.

    A question whose answer takes too long, or at which the process dies, costs the process: the question's answer says
    so, and the next question starts another process. The process ends with its input, so with the app.

    Args:
        plugins: the plugin files that the process loads.
        limit: seconds that an answer may take.
    """

    def __init__(self, plugins: Sequence[str], limit: float = LIMIT) -> None:
        self.limit = limit
        self._words = [word for plugin in plugins for word in ("--plugin", plugin)]
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def ask(self, question: GroundRequest | WalkRequest) -> Answer:
        """The answer to a question; where the worker has no answer, ``error`` says why in one sentence.

        Raises:
            UserError: the process cannot be started.
        """
        text = Question(ask=question).model_dump_json()
        with self._turn:
            requests = self._process.stdin if self._process is not None else self._start()
            assert requests is not None
            try:
                requests.write(text + "\n")
                requests.flush()
                line = self._lines.get(timeout=self.limit)
            except queue.Empty:
                self._end()
                return Answer(error=f"the computation took longer than {self.limit:g} s and was stopped")
            except OSError:  # the process died between two questions
                line = ""
            if not line:
                self._end()
                return Answer(error="the process that computes died, and another one starts with the next question")
        return Answer.model_validate_json(line)

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def _start(self) -> IO[str] | None:
        """Start the process and wait until it is ready; where it reads questions."""
        # with the app's own search path: the current folder may have a file with the name of a module
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, os.pathsep.join(sys.path), *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._lines = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()
        try:
            ready = self._lines.get(timeout=START_LIMIT)
        except queue.Empty:
            ready = ""
        if not ready:
            self._end()
            raise UserError("the process that computes paths could not be started")
        return self._process.stdin

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            with suppress(OSError):  # a question that nobody reads any more
                process.stdin.close()  # type: ignore[union-attr]


def _read(answers: IO[str] | None, lines: queue.Queue[str]) -> None:
    """Pass lines on; an empty one at the end."""
    assert answers is not None
    with answers:
        for line in answers:
            lines.put(line)
    lines.put("")


@st.cache_resource(show_spinner="Starting the process that computes", max_entries=1, on_release=Worker.close)
def _worker(plugins: tuple[str, ...]) -> Worker:
    return Worker(plugins)


@st.cache_data(show_spinner=False, max_entries=512, ttl=300)
def _asked(text: str, plugins: tuple[str, ...]) -> Answer:
    # answers without a result are kept too: a step that never ends would hold up all visitors each time
    return _worker(plugins).ask(Question.model_validate_json(text).ask)


def ask(question: GroundRequest | WalkRequest) -> Answer:
    """The answer to a question. Equal questions are computed once in five minutes, for all visitors."""
    return _asked(Question(ask=question).model_dump_json(), plugin_files())
