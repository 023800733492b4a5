"""Writes the table of docs/performance.md from what benchmarks recorded.

``python tests/benchmarks/performance_page.py FIRST.json SECOND.json`` takes the JSON of two runs of ``nox -s
benchmarks``, keeps what the table needs in docs/performance.json and writes the table. A run whose benchmarks were
started in several commands on one machine has the JSON of all of them, as ``FIRST.json,MORE.json``. Without files the
table is written from docs/performance.json again, which the tests compare with the page.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
ASKED = Path(__file__).parent / "asked.toml"
BEGIN, END = "<!-- generated: the table -->", "<!-- end of the table -->"


def kept(paths: list[Path]) -> dict[str, Any]:
    """What a run tells: its machine, its date and its rows.

    Raises:
        ValueError: its files are of several machines, or two of them have a row in common.
    """
    rows: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for path in paths:
        found = json.loads(path.read_text(encoding="utf-8"))
        cpu = found["machine_info"].get("cpu", {})
        own = {
            "machine": f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} cores",
            "python": found["machine_info"]["python_version"],
        }
        if about and own != {key: about[key] for key in own}:
            raise ValueError(f"{path} was measured on {own}, and the files before it on {about}")
        about = {"date": found["datetime"][:10], **own}
        for benchmark in found["benchmarks"]:
            more = benchmark.get("extra_info", {}).get("rows", {})
            if twice := sorted(rows.keys() & more.keys()):
                raise ValueError(f"{path} measures {twice[0]} once more")
            rows |= more
    return {**about, "rows": dict(sorted(rows.items()))}


def table(runs: list[dict[str, Any]], asked: list[dict[str, Any]]) -> str:
    """The table: a row for each row of asked.toml, a column for each run."""
    head = [
        "work",
        "alternative",
        "before",
        "asked",
        *(f"run {n}, {run['date']}" for n, run in enumerate(runs, 1)),
        "reached",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in asked:
        found = [run["rows"].get(row["id"]) for run in runs]
        cells = [_cell(one, row) for one in found]
        medians = [one["median"] for one in found if one]
        limit = row.get("asked")
        if limit is None:
            reached = "–"
        elif not medians:
            reached = "–" if "see below" in row.get("missing", "") else "no"
        else:
            reached = "yes" if max(medians) <= limit else "no" if min(medians) > limit else "in one run"
        wanted = "–" if limit is None else f"{limit:g}"
        lines.append(f"| {' | '.join([row['work'], row['alternative'], row['before'], wanted, *cells, reached])} |")
    return "\n".join(lines)


def _cell(one: dict[str, Any] | None, row: dict[str, Any]) -> str:
    if one is None:
        return str(row.get("missing", "not measured"))
    digits = 3 if abs(one["median"]) < 10 else 1
    numbers = [f"{one[name]:.{digits}g}" if digits == 3 else f"{one[name]:.1f}" for name in ("median", "low", "high")]
    floor = f"; floor {one['floor']:.2g}" if "floor" in one else ""
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]}, {one['pairs']}{floor})"


def page(text: str, runs: list[dict[str, Any]]) -> str:
    """The page with the table in its place."""
    asked = tomllib.loads(ASKED.read_text(encoding="utf-8"))["row"]
    machines = "; ".join(
        f"run {n}: {run['date']}, {run['machine']}, Python {run['python']}" for n, run in enumerate(runs, 1)
    )
    body = f"{BEGIN}\n\n{machines}.\n\n{table(runs, asked)}\n\n{END}"
    before, rest = text.split(BEGIN, 1)
    return before + body + rest.split(END, 1)[1]


def main(paths: list[str]) -> None:
    """Write the page."""
    data = DOCS / "performance.json"
    if paths:
        taken = [kept([Path(path) for path in of_one.split(",")]) for of_one in paths]
        data.write_text(json.dumps(taken, indent=1) + "\n", encoding="utf-8")
    runs = json.loads(data.read_text(encoding="utf-8"))
    target = DOCS / "performance.md"
    target.write_text(page(target.read_text(encoding="utf-8"), runs), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
