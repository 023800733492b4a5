"""All checks of the project. ``nox`` runs what CI runs, in the environment that is active; ``nox -s NAME`` runs one."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "docs", "tests"]

FORMATS = Path("tests/importing/formats")
PINS = tomllib.loads((FORMATS / "pins.toml").read_text(encoding="utf-8"))


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting and lint."""
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types."""
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, in docs/_build, and its simulated tables; a warning is an error."""
    session.run("python", "docs/coverage.py", "--check")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--fresh-env", "--quiet", "docs", "docs/_build")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, or those that are named: ``nox -s tests -- tests/scoring -k paired``."""
    # each process trains with one thread, so that the processes share the cores; one more fills the cores while
    # others wait for the processes that they have started
    workers = str((os.cpu_count() or 1) + 1)
    session.run(
        "pytest", "-n", workers, "--dist", "worksteal", "--durations=30", *session.posargs, env={"OMP_NUM_THREADS": "1"}
    )


@nox.session
def benchmarks(session: nox.Session) -> None:
    """The performance benchmarks of docs/performance.md, one after the other."""
    arguments = ("--benchmark-json=benchmarks.json", *session.posargs)
    session.run("pytest", "tests/benchmarks", *arguments, env={"OMP_NUM_THREADS": "1"})


@nox.session(venv_backend="venv")
def peers(session: nox.Session) -> None:
    """The tests of looks against other packages, with every package of tests/peers/pins.txt; no part of CI."""
    session.install("-c", "constraints.txt", "torch")
    session.install("-c", "constraints.txt", "-e", ".[test,oracle]")
    session.install("-c", "constraints.txt", "matplotlib", "networkx", "plotly", "tqdm")
    # without what the packages ask for: topopy, of landscaper, asks for a numpy before 2, and runs with a later one
    session.install("--no-deps", "-r", "tests/peers/pins.txt", "-r", "tests/peers/imports.txt")
    session.run("pytest", "tests/peers", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(venv_backend="venv")
def optimizers(session: nox.Session) -> None:
    """The tests of plugins/thalweg-optimizers, with every package that it knows; no part of CI."""
    package = "plugins/thalweg-optimizers"
    session.install("-c", "constraints.txt", "torch")
    session.install("-c", "constraints.txt", "-e", ".[test]")
    # without what the packages ask for: some want triton or numba, which a CPU does not need
    session.install("--no-deps", "-r", f"{package}/constraints.txt")
    session.install("--no-deps", "-e", package)
    session.run("pytest", f"{package}/tests", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(venv_backend="venv")
@nox.parametrize("name", sorted(PINS))
def formats(session: nox.Session, name: str) -> None:
    """The logs that the tests of the importers read, written anew by each library into a folder; no part of CI."""
    session.install(*PINS[name])
    session.run("python", str(FORMATS / "make.py"), name, session.create_tmp())


@nox.session(venv_backend="venv")
def icons(session: nox.Session) -> None:
    """The font of the app's icons, cut anew from the pinned Streamlit's; no part of CI."""
    session.install("-c", "constraints.txt", "streamlit", "fonttools==4.68.0", "brotli==1.2.1")
    session.run("python", "docs/icons.py")
