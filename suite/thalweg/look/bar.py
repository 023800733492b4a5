"""What a measurement tells of its progress: a bar on a terminal, the caller's function, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from thalweg.console import errors

Told = Callable[[int, int], None]
"""Takes how much is done of how much."""


@contextmanager
def shown(name: str, progress: bool | Told) -> Iterator[Told]:
    """While active, the function that the measurement calls.

    Rich draws in terminals, and in Jupyter where ipywidgets is installed; without it rich would leave warnings under
    the cell.
    """
    console = errors()
    if callable(progress):
        yield progress
    elif not progress or not (console.is_terminal or (console.is_jupyter and find_spec("ipywidgets"))):
        yield lambda done, total: None
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
