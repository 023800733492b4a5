"""Executors that do not keep their contract end a run with one line, and what they trained stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import CommandLine

PLUGIN = """
import thalweg
from thalweg.contracts.executor import Executor

class Short(Executor):
    name, summary = "short", "takes no workers"
    def run(self, work, jobs, lost, progress):
        return iter([])

class Liar(Executor):
    name, summary, stops_late_trials = "liar", "declares an argument that run does not take", True
    def run(self, work, jobs, lost, progress, workers=None):
        return iter([])

class Twice(Executor):
    name, summary = "twice", "yields one job twice and leaves the others out"
    def run(self, work, jobs, lost, progress, workers=None):
        result = work(jobs[0], progress)
        yield jobs[0], result
        yield jobs[0], result

class Lazy(Executor):
    name, summary = "lazy", "leaves jobs out"
    def run(self, work, jobs, lost, progress, workers=None):
        yield jobs[0], work(jobs[0], progress)

class Broken(Executor):
    name, summary = "broken", "raises an exception"
    def run(self, work, jobs, lost, progress, workers=None):
        yield jobs[0], work(jobs[0], progress)
        raise ValueError("no cluster")

class Nothing(Executor):
    name, summary = "nothing", "returns None"
    def run(self, work, jobs, lost, progress, workers=None):
        return None

@thalweg.hookimpl
def thalweg_register_executors(register):
    for executor in (Short, Liar, Twice, Lazy, Broken, Nothing):
        register(executor)
"""


@pytest.mark.parametrize(
    ("executor", "options", "trained", "message"),
    [
        ("short", (), 0, "TypeError"),
        ("liar", ("--timeout", "60"), 0, "timeout"),
        ("twice", (), 1, "it gave a job's result twice"),
        ("lazy", (), 1, "it ended without a result for 3 of 4 jobs"),
        ("broken", (), 1, "ValueError: no cluster"),
        ("nothing", (), 0, "TypeError"),
    ],
)
def test_a_faulty_executor_ends_the_run_in_one_line(
    cli: CommandLine, small: Path, executor: str, options: tuple[str, ...], trained: int, message: str
) -> None:
    (cli.folder / "executors.py").write_text(PLUGIN, encoding="utf-8")
    words = ["run", str(small), "--seeds", "2", "--no-batching", "--only", "optimizer=sgd", "--plugin", "executors.py"]
    report = cli.json(*words, "--executor", executor, *options, code=1)
    assert report["outcome"] == "stopped"
    assert report["trials"]["trained"] == trained
    (failure,) = report["failures"]
    assert failure["trial"] == f"executor {executor}"
    assert message in failure["message"]
    rest = cli.json(*words)
    assert (rest["trials"]["cached"], rest["trials"]["trained"]) == (trained, 4 - trained)
