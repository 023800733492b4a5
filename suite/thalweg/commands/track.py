"""``thalweg track``: the standings of an optimization track, and its records."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from pathlib import Path

from thalweg.console import console, errors, print_json, print_table, warn_of_failures, warn_of_unreadable
from thalweg.errors import NothingThere, UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.kept import find_benchmark
from thalweg.present.loaded import Loaded, read_loaded
from thalweg.present.track import board, entries_of, introduction, ranked
from thalweg.registry import load_registry
from thalweg.scoring.records import SUFFIX, Record, read_records, write_records
from thalweg.scoring.track import Entry
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root

RECIPE = ("optimizer", "schedule", "clip_norm", "coupled_weight_decay", "decoupled_weight_decay", "weight_decay_on")
"""The parts of a trial that an entry may choose."""


@dataclass(frozen=True)
class TrackArguments:
    """What ``thalweg track`` is asked for."""

    benchmark: str
    add: str | None = None
    """The optimizer to add as a record."""
    by: str | None = None
    """Who enters the record."""
    records: Path | None = None
    results: Path | None = None
    plugin_files: tuple[Path, ...] = ()
    as_json: bool = False


def track_command(arguments: TrackArguments) -> ExitCode:
    """Print the standings; with ``add``, enter a record, ``FAILED`` where the entry does not pass the rules."""
    registry = load_registry(arguments.plugin_files)
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    root = results_root(arguments.results)
    benchmark = find_benchmark(arguments.benchmark, registry, root)
    if benchmark.spec.track is None:
        tracks = "its file has no [track] table; language-track has one"
        raise UserError(f"{arguments.benchmark}: is no track: {tracks}")
    if arguments.add is not None and not arguments.by:
        raise UserError("--by: name who enters the record")
    track = benchmark.spec.track
    loaded = read_loaded(BenchmarkResults(root, benchmark.name), registry, benchmark=benchmark)
    warn_of_unreadable(loaded.unreadable)
    path = arguments.records or _beside(root, benchmark.name)
    records = read_records(path)
    record = records[-1] if records else None
    found = entries_of(loaded)
    document = {
        "benchmark": benchmark.name,
        "margin": track.margin,
        "rows": [],
        "records": [one.model_dump(mode="json", exclude={"means"}) for one in records],
    }
    if not found:
        if arguments.as_json:
            print_json(document)
        raise NothingThere(f"no results of {benchmark.name!r} in {root}: type 'thalweg run {arguments.benchmark}'")
    rows = ranked(found, record)
    if arguments.as_json:
        told = [
            {key: None if value != value else value for key, value in row.items()} for row in rows.to_dict("records")
        ]
        print_json(document | {"rows": told})
    else:
        table = board(rows, track.margin)
        print_table(benchmark.spec.title, table.headings, table.cells(), table.right)
        console().print()
        console().print(introduction(track, loaded.view.workloads[track.workload], record), markup=False)
    if arguments.add is None:
        return ExitCode.DONE
    entry = next((one for one in found if one.optimizer == arguments.add), None)
    if entry is None:
        raise UserError(f"--add: {unknown('optimizer', arguments.add, [one.optimizer for one in found])}")
    if reasons := refusals(entry, record, benchmark.spec.seeds):
        for reason in reasons:
            errors().print(f"{entry.optimizer} is no record: {reason}", markup=False)
        return ExitCode.FAILED
    made = _record(entry, loaded, track.workload, record, str(arguments.by))
    write_records(path, [*records, made])
    errors().print(
        f"record {len(records) + 1}: {made.optimizer}, {made.steps:,} steps; written to {path}", markup=False
    )
    return ExitCode.DONE


def refusals(entry: Entry, record: Record | None, seeds: int) -> list[str]:
    """Why an entry is no record; empty where it is one. ``seeds`` is the benchmark's number of seeds."""
    found = []
    if absent := sorted(set(range(seeds)) - set(entry.seeds)):
        which = ", ".join(map(str, absent[:10]))
        found.append(
            f"seeds that the benchmark asks for are not there: {which}; a record may have more, and not others"
        )
    if entry.lost:
        found.append(f"{entry.lost} of its runs diverged or failed")
    elif entry.place is None:
        found.append(f"its lead √n is never {entry.margin:g} or more")
    if entry.gradients > 1:
        found.append(f"a step takes {entry.gradients:.3g} gradients and products, and one is allowed")
    if record is not None and entry.place is not None:
        difference = entry.against(record.as_means)
        steps = int(entry.grid[entry.place])
        if steps >= record.steps:
            found.append(f"it takes {steps:,} steps, and the record {record.steps:,}")
        elif math.isnan(difference):
            found.append(f"the record was not evaluated at step {steps:,}")
        elif difference < entry.margin:
            found.append(f"its difference to the record is {difference:.3g}, less than the margin {entry.margin:g}")
    return found


def _beside(root: Path, name: str) -> Path:
    """The file of records: in the results folder, or beside a packed file."""
    return (root if not root.suffix else root.parent) / f"{name}{SUFFIX}"


def _record(entry: Entry, loaded: Loaded, workload: str, before: Record | None, by: str) -> Record:
    assert entry.place is not None
    trials = loaded.view.seen.trials
    mine = trials[(trials["workload"] == workload) & (trials["optimizer"] == entry.optimizer)]
    runs = dict(zip(mine["seed"].tolist(), mine["hash"].tolist(), strict=True))
    first = loaded.view.stored.get(min(runs.items())[1])
    if first is None:
        raise UserError(f"--add: the trials of {entry.optimizer} have changed since they were read: try again")
    trial = first.document.trial.model_dump(mode="json", exclude_defaults=True)
    return Record(
        steps=int(entry.grid[entry.place]),
        optimizer=entry.optimizer,
        trial={key: trial[key] for key in RECIPE if key in trial},
        statistic=float(entry.statistics[entry.place]),
        against=before.optimizer if before else "",
        difference=entry.against(before.as_means) if before else None,
        runs=runs,
        means=dict(entry.means.by_step),
        by=by,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )
