"""Writes ``RESULTS.md``: the leaderboards of the benchmark ``optimizers``, from the trials in ``results/``.

python tools/standings.py
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg_optimizers.sources import benchmark

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
HEAD = """# The benchmark `optimizers`: what is there so far

{there} of {all} optimizers are trained: the four built-in ones, and one class of each package after the other. Each
tried eight learning rates on each workload, three decades more where the best is at an end, and trained five fresh
seeds. Ranks and intervals are those of `thalweg leaderboard`, and hold for this table; they change when more optimizers
come. `python tools/standings.py` writes this page.

To go on: `thalweg results unpack results/optimizers.thalweg --out FOLDER`, then `thalweg run optimizers --results
FOLDER`.

"""


def main() -> None:
    """Write the page."""
    stored = read_stored(BenchmarkResults(RESULTS, "optimizers"))
    words = ["leaderboard", "optimizers", "--results", str(RESULTS), "--format", "markdown"]
    done = subprocess.run([sys.executable, "-m", "thalweg", *words], check=True, capture_output=True, text=True)
    every = tomllib.loads(Path(benchmark()).read_text(encoding="utf-8"))["optimizers"]
    head = HEAD.format(there=stored.trials["optimizer"].nunique(), all=len(every))
    (ROOT / "RESULTS.md").write_text(head + done.stdout.strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
