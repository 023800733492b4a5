"""Prints the seconds, beyond imports, and the peak memory of one command or page on many trials, as JSON.

    $ python tests/benchmarks/many_times.py leaderboard FOLDER SMALL
    $ python tests/benchmarks/many_times.py page FOLDER SMALL

``FOLDER`` and ``SMALL`` are folders of ``many_trials.py``. The small one is shown first, so that imports and first uses
of libraries do not count. ``test_many_results.py`` runs this file with two checkouts of thalweg.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thalweg.store.listing import look
from thalweg.store.results import BenchmarkResults


def leaderboard(folder: Path) -> bytes:
    """What ``thalweg leaderboard --format json`` prints."""
    from thalweg.commands.leaderboard import LeaderboardOptions, leaderboard_command

    options = LeaderboardOptions(str(folder / "many.toml"), format="json", results=folder / "results")
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        leaderboard_command(options)
    return out.getvalue().encode()


def page(folder: Path) -> bytes:
    """All elements of the app's first page."""
    from streamlit.testing.v1 import AppTest

    os.environ["THALWEG_RESULTS"] = str(folder / "results")
    # one script for both checkouts, since names of elements depend on its place
    script = Path(__file__).parents[2] / "app.py"
    shown = AppTest.from_file(str(script), default_timeout=600).run()
    assert not shown.exception, shown.exception
    return b"".join(_elements(shown._tree))


def _elements(block: Any) -> Iterator[bytes]:
    for child in block.children.values():
        if hasattr(child, "children"):
            yield from _elements(child)
        elif child.proto is not None:
            yield child.proto.SerializeToString(deterministic=True)


def main(what: str, folder: Path, small: Path) -> None:
    """Show the small results, then measure the others."""
    show = {"leaderboard": leaderboard, "page": page}[what]
    show(small)
    # all files were looked at a moment before
    look(BenchmarkResults(folder / "results", "many"))
    started = time.perf_counter()
    shown = show(folder)
    seconds = time.perf_counter() - started
    # kilobytes on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(
        json.dumps({"seconds": seconds, "megabytes": peak, "shown": hashlib.sha256(shown).hexdigest()}) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute(), Path(sys.argv[3]).absolute())
