"""Spoiled results and files: no command ends in a traceback, loses a sound trial, or touches anything else.

CI runs the same examples each time, about a minute of them. To look further, with examples of one's own:

    $ THALWEG_FUZZ=2000 pytest tests/fuzz
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import hostile
from fuzz import mutations
from support import CommandLine

MANY = os.environ.get("THALWEG_FUZZ", "")
fuzzed = settings(
    max_examples=int(MANY or 12),
    derandomize=not MANY,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate] if not MANY else [Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)

BENCHMARK = """
seeds = 2

[workloads.bowl]
problem = { name = "quadratic", dim = 2 }
architecture = "point"
dtype = "float64"
budget = { steps = 4 }
evaluate_every = { steps = 2 }
target = { metric = "loss", value = 0.5 }

[workloads.digits]
problem = "digits"
architecture = { name = "mlp", widths = [2] }
budget = { steps = 2 }
batch_size = 64
validation_fraction = 0.2

[optimizers.sgd]
lr = 0.01

[optimizers.adam]

[probes.line]
points = 3
seeds = [0]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of eight trials."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "few.toml").write_text(BENCHMARK, encoding="utf-8")
    CommandLine(folder, own_process=False)("run", "few.toml", "--quiet", "--results", "made")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


def fresh(place: Path, made: Path) -> CommandLine:
    """A stranger's results, whole yet, beside a folder with something to lose."""
    shutil.rmtree(place)
    place.mkdir()
    shutil.copytree(made / "made", place / "theirs")
    shutil.copy(made / "few.toml", place / "few.toml")
    hostile.outside_of(place)
    return CommandLine(place, own_process=False)


THEIRS = ("--results", "theirs")
READING = [
    ("results", "list", *THEIRS),
    ("results", "list", "--json", *THEIRS),
    ("results", "verify", *THEIRS),
    ("leaderboard", "few.toml", *THEIRS),
    ("leaderboard", "few.toml", "--metric", "steps_to_target", "--format", "markdown", *THEIRS),
    ("leaderboard", "few.toml", "--over-all", *THEIRS),
    ("compare", "theirs", "theirs"),
    ("results", "show", "", *THEIRS),
]
WRITING = [
    ("results", "export", "out/all.csv", *THEIRS),
    ("results", "export", "out/all.duckdb", *THEIRS),
    ("results", "import", "theirs", "--results", "out/mine"),
    ("results", "delete", "--failed", "--yes", *THEIRS),
    ("results", "compact", *THEIRS),
    ("results", "verify", "--set-aside", *THEIRS),
]
CODES = {0, 1, 2, 3, 4}


def hold(cli: CommandLine, words: tuple[str, ...]) -> str:
    """Run a command and return its output. It must end with a documented exit code and without a traceback."""
    done = cli.anyhow(*words)
    assert done.returncode in CODES, words
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode == 2:
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1, done.stderr
    return done.stdout + done.stderr


@fuzzed
@given(data=st.data())
def test_spoiled_trials_cost_themselves_alone(place: Path, made: Path, data: st.DataObject) -> None:
    cli = fresh(place, made)
    trials = sorted((place / "theirs" / "few" / "trials").iterdir())
    spoiled = data.draw(st.sets(st.sampled_from(trials), min_size=1, max_size=4), "spoiled")
    for trial in sorted(spoiled):
        mutations.TRIAL[data.draw(st.integers(0, len(mutations.TRIAL) - 1), "mutation")](data, trial)
    before, theirs = hostile.tree(place / "outside"), hostile.tree(place / "theirs")
    sound = [trial for trial in trials if trial not in spoiled]
    for words in READING:
        said = hold(cli, words)
        if words == ("results", "list", "--json", *THEIRS):
            assert all(trial.name.rpartition("--")[2] in said for trial in sound)
    assert hostile.tree(place / "theirs") == theirs
    for words in WRITING:
        hold(cli, words)
    assert all((trial / "trial.json").is_file() for trial in sound)
    assert all((place / "out" / "mine" / "few" / "trials" / trial.name).is_dir() for trial in sound)
    assert hostile.tree(place / "outside") == before
    assert {path.name for path in place.iterdir()} == {"theirs", "few.toml", "outside", "out"}


@fuzzed
@given(data=st.data())
def test_spoiled_benchmark_files_cost_a_line(place: Path, made: Path, data: st.DataObject) -> None:
    cli = fresh(place, made)
    path = place / data.draw(st.sampled_from(["few.toml", "theirs/few/benchmark.toml"]), "file")
    for _ in range(data.draw(st.integers(1, 3), "edits")):
        try:
            mutations.benchmark_text(data, path)
        except (UnicodeDecodeError, ValueError):
            break
    before = hostile.tree(place)
    for words in [*READING, ("run", "few.toml", "--dry-run", *THEIRS), ("tuning", "few.toml", *THEIRS)]:
        hold(cli, words)
    assert hostile.tree(place) == before
