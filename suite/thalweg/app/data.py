"""The results that the app can show, and cached copies of their trials and tables."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

import thalweg
from thalweg import guard
from thalweg.present.loaded import Loaded, read_loaded
from thalweg.registry import Registry, load_registry
from thalweg.store.claims import ClaimResults
from thalweg.store.files import Files
from thalweg.store.listing import Listing, look
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, results_root
from thalweg.store.tables import read_table
from thalweg.store.timings import timings_in

Stamp = tuple[tuple[str, int | str], ...]
"""Names and modification times: equal stamps mean equal content."""


@dataclass(frozen=True)
class Source:
    """A folder of results."""

    key: str
    """The name of the source in the sidebar and in links."""
    label: str
    path: Path


def sources() -> list[Source]:
    """This machine's results, and the reference results of a checkout; a source without results comes last.

    The app starts with the first source.
    """
    local = results_root(None)
    found = [Source("local", f"this machine ({short(local)})", local)]
    reference = _reference()
    if reference is not None and reference.resolve() != local.resolve():
        found.append(Source("reference", "the reference results of the project", reference))
    return sorted(found, key=lambda source: not (benchmarks_in(source.path) or ClaimResults(source.path).ids))


def _reference() -> Path | None:
    checkout = Path(thalweg.__file__).resolve().parents[2]
    folders = (Path("results") / "reference", checkout / "results" / "reference")
    return next((folder for folder in folders if guard.is_folder(os.path.realpath(folder))), None)


def short(path: Path) -> str:
    """The path, relative to the current folder if it lies inside."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def plugin_files() -> tuple[str, ...]:
    """The plugin files that ``thalweg app --plugin`` named."""
    return tuple(filter(None, os.environ.get("THALWEG_PLUGIN_FILES", "").split(os.pathsep)))


@st.cache_resource(show_spinner=False)
def _registry(files: tuple[str, ...]) -> Registry:
    return load_registry(files)


def registry() -> Registry:
    """The registry of all plugins, loaded once."""
    return _registry(plugin_files())


def stamp(results: BenchmarkResults, listing: Listing | None = None) -> Stamp:
    """The stamp of the trials, the step times and the benchmark's file."""
    listing = listing or look(results)
    times = []
    for name in ("benchmark.toml", *timings_in(results.files)):
        # another process may take one away
        with suppress(OSError):
            times.append((name, results.files.stamp(name)))
    return (*times, ("trials", listing.digest))


def load(root: Path, name: str) -> Loaded:
    """A benchmark's results; read again only when something changed on disk."""
    results = BenchmarkResults(root, name)
    # the spinner is shown only where reading takes long
    with st.spinner("Reading results"):
        return load_listed(results, look(results))


def load_listed(results: BenchmarkResults, listing: Listing) -> Loaded:
    """Results as they were listed; read again, without a sign, only when something changed on disk."""
    root = results.path if results.packed else results.path.parent
    return _load(str(root.absolute()), results.name, stamp(results, listing), plugin_files(), listing)


@st.cache_resource(show_spinner=False, max_entries=8)
def _load(root: str, name: str, content: Stamp, files: tuple[str, ...], _listing: Listing) -> Loaded:
    return read_loaded(BenchmarkResults(Path(root), name), _registry(files), _listing)


def probe_table(trial: Files, key: str) -> pd.DataFrame:
    """A probe's table, of a trial with these files; OSError or ValueError when the table cannot be read."""
    name = f"probes/{key}.parquet"
    return _table(str(trial.path), name, trial.stamp(name), trial)


@st.cache_data(show_spinner=False, max_entries=256)
def _table(path: str, name: str, modified: int, _trial: Files) -> pd.DataFrame:
    return read_table(_trial, name)
