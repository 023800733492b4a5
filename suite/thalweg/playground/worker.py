"""The process that computes what the playground asks: ``python -m thalweg.playground.worker [--plugin FILE]...``.

It reads a ``Question`` a line, as JSON, and writes an ``Answer`` a line, the first one when it is ready.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TextIO

from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.failure import Failure
from thalweg.playground.requests import Answer, Question, WalkRequest
from thalweg.registry import Registry, load_registry


def main() -> None:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugin", type=Path, action="append", default=[])
    given = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # what plugins print would mix with the answers, and belongs to no visitor
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    registry = load_registry(given.plugin)
    # what answers need is imported before the first question, whose time counts
    import torch

    from thalweg.playground import functions, walk  # noqa: F401

    torch.set_num_threads(1)
    _say(answers, Answer())
    while True:
        _say(answers, answer(lines.get(), registry))


def _read(lines: queue.Queue[str]) -> None:
    """Pass lines on. The end of the input ends the process, also where a plugin's step never ends."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(ExitCode.DONE)


def _say(answers: TextIO, text: Answer) -> None:
    answers.write(text.model_dump_json() + "\n")
    answers.flush()


def answer(line: str, registry: Registry) -> Answer:
    """The answer to one question."""
    from thalweg.playground.functions import ground
    from thalweg.playground.walk import walk

    try:
        asked = Question.model_validate_json(line).ask
        if isinstance(asked, WalkRequest):
            return Answer(walk=walk(asked, registry))
        return Answer(ground=ground(asked, registry))
    except UserError as error:
        return Answer(error=str(error))
    except (Exception, SystemExit) as error:  # a plugin's mistake
        return Answer(error=Failure.of(error).line)


if __name__ == "__main__":
    main()
