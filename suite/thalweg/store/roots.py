"""A results root: a folder with the results of benchmarks, or one packed file."""

from __future__ import annotations

import os
from pathlib import Path

from thalweg import guard
from thalweg.errors import UserError
from thalweg.store.claims import CLAIMS
from thalweg.store.packed_format import SUFFIX, is_packed
from thalweg.store.results import WORKING, BenchmarkResults, both, places_of, refusal_of
from thalweg.store.trials import Unreadable


def results_root(given: Path | None) -> Path:
    """``--results``, else ``$THALWEG_RESULTS``, else ``./results/local``; UserError if it is a missing packed file."""
    root = given or Path(os.environ.get("THALWEG_RESULTS") or Path("results") / "local")
    if root.suffix == SUFFIX and not os.path.lexists(root):
        raise UserError(f"{root}: there is no such packed file; the name of a results folder does not end in {SUFFIX}")
    return root


LOCAL = "THALWEG_LOCAL"
"""The environment variable with the folder of ``own_root``. The app sets it for its processes."""


def own_root() -> Path:
    """Where this machine keeps what it measures of packed trials: the results root without any ``--results``.

    ``$THALWEG_LOCAL``, else ``$THALWEG_RESULTS``; ``./results/local`` without them, and where they name a packed file.
    """
    local = Path("results") / "local"
    root = Path(os.environ.get(LOCAL) or os.environ.get("THALWEG_RESULTS") or local)
    return local if root.suffix == SUFFIX else root


def benchmarks_in(root: Path) -> list[str]:
    """The benchmarks that have results under a root, sorted."""
    return [name for name, _, refusal in _found(root) if not refusal]


def refused_in(root: Path) -> list[Unreadable]:
    """The paths that look like results but are not read, sorted, with the reasons."""
    return [Unreadable(path, refusal) for _, path, refusal in _found(root) if refusal]


def require_benchmark(root: Path, name: str) -> BenchmarkResults:
    """The results of a benchmark.

    Raises:
        UserError: the benchmark has no results, and other benchmarks have; or its results are not read, with the
        reason.
    """
    found = _found(root)
    for one, path, refusal in found:
        if one == name and refusal:
            raise UserError(f"{path} is not read: {refusal}")
    there = [one for one, _, refusal in found if not refusal]
    if name not in there:
        raise UserError(f"no results of {name!r} in {root}; there are results of: {', '.join(there) or 'nothing yet'}")
    return BenchmarkResults(root, name)


def _found(root: Path) -> list[tuple[str, Path, str]]:
    """Names and paths that look like results, sorted; for results that are not read, the reason."""
    try:
        if is_packed(root):
            names = [name] if (name := _benchmark_at(root)) else []
        elif root.is_dir():
            names = sorted({name for path in root.iterdir() if (name := _benchmark_at(path))})
        else:
            names = []
    except PermissionError as error:
        return [(root.name, root, f"cannot be read: {error.strerror or error}")]
    found = []
    for name in names:
        places = places_of(root, name)
        if len(places) > 1:
            found.append((name, places[0], f"there are {both(places)}"))
        elif places:
            found.append((name, places[0], refusal_of(places[0], name)))
    return found


def _benchmark_at(path: Path) -> str:
    """The benchmark whose results a path may be; empty where it looks like none, as the folder of claims does."""
    if path.name in (CLAIMS, CLAIMS + SUFFIX):
        return ""
    if path.suffix == SUFFIX and not guard.is_folder(path):
        return path.name.removesuffix(SUFFIX)
    for name in ("trials", WORKING):
        try:
            os.lstat(path / name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # what may not be read may be results: the refusal says why they are not
        return path.name
    return ""
