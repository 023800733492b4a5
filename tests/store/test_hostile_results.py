"""Thirty hostile trials among twenty sound ones: the sound ones are treated, the others named, nothing else touched."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import hostile
from support import APP_SCRIPT, CommandLine

SOUND = 20

BENCHMARK = """
seeds = 60

[workloads.bowl]
problem = { name = "quadratic", dim = 2 }
architecture = "point"
dtype = "float64"
budget = { steps = 4 }
evaluate_every = { steps = 2 }

[optimizers.sgd]
lr = 0.01
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of sixty trials."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "many.toml").write_text(BENCHMARK, encoding="utf-8")
    CommandLine(folder, own_process=False)("run", "many.toml", "--quiet", "--results", "made")
    return folder


class Stranger:
    """A stranger's results beside a folder with something to lose, and who is who among the trials."""

    def __init__(self, cli: CommandLine, made: Path) -> None:
        self.cli = cli
        shutil.copytree(made / "made", cli.folder / "theirs")
        shutil.copy(made / "many.toml", cli.folder / "many.toml")
        self.outside = hostile.outside_of(cli.folder)
        self.results = cli.folder / "theirs" / "many"
        trials = sorted((self.results / "trials").iterdir())
        assert len(hostile.TRIALS) >= 30
        self.bad = dict(zip(hostile.TRIALS, trials[SOUND:], strict=False))
        for path in trials[SOUND + len(self.bad) :]:
            shutil.rmtree(path)
        self.sound = trials[:SOUND]
        self.before = hostile.tree(self.outside)
        for name, path in self.bad.items():
            hostile.TRIALS[name](path, self.outside)
        hostile.leftovers(self.results, self.sound[0], self.outside)
        (cli.folder / "theirs" / "linked").symlink_to(self.outside, target_is_directory=True)
        (self.outside / "trials").mkdir()
        # what the items themselves put there
        self.before = hostile.tree(self.outside)

    def hashes(self) -> set[str]:
        return {path.name.rpartition("--")[2] for path in self.sound}

    def unread(self) -> set[str]:
        """Names of the trials whose documents are not sound."""
        return {path.name for name, path in self.bad.items() if name not in hostile.SHOWN}

    def untouched(self) -> None:
        assert hostile.tree(self.outside) == self.before
        assert sorted(path.name for path in self.cli.folder.iterdir()) == sorted(self.there)

    @property
    def there(self) -> set[str]:
        return {"theirs", "many.toml", "outside", *self.new}

    new: tuple[str, ...] = ()


@pytest.fixture
def stranger(cli: CommandLine, made: Path) -> Stranger:
    return Stranger(cli, made)


THEIRS = ("--results", "theirs")


def test_list_shows_the_sound_and_names_the_others_and_changes_nothing(stranger: Stranger) -> None:
    before = hostile.tree(stranger.cli.folder / "theirs")
    listed = stranger.cli.json("results", "list", *THEIRS)
    shown = {trial["hash"] for trial in listed["trials"]}
    assert stranger.hashes() <= shown
    assert len(shown) == SOUND + len(hostile.SHOWN)
    named = {Path(path).name for path in listed["unreadable"]}
    assert named == stranger.unread() | {"linked"}
    told = stranger.cli("results", "list", *THEIRS)
    for name in named:
        assert name in told.stderr
    assert hostile.tree(stranger.cli.folder / "theirs") == before
    stranger.untouched()


def test_verify_counts_the_sound_and_names_each_other_and_changes_nothing(stranger: Stranger) -> None:
    before = hostile.tree(stranger.cli.folder / "theirs")
    found = stranger.cli.json("results", "verify", *THEIRS, code=1)
    named = {part for fault in found["faults"] for part in Path(fault["path"]).parts}
    # a digest says nothing of what is in a table, nor of what a text holds
    whole = {"control signs in the reason", "no table as curve", "deep option"}
    whole |= {"rows by the million", "one long text in each row"}
    assert {name for name, path in stranger.bad.items() if path.name not in named} == whole
    assert found["whole"] == SOUND + len(whole)
    assert hostile.tree(stranger.cli.folder / "theirs") == before
    stranger.untouched()


def test_setting_aside_moves_what_is_wrong_and_stays_inside(stranger: Stranger) -> None:
    stranger.cli("results", "verify", "--set-aside", *THEIRS, code=1)
    left = {path.name for path in (stranger.results / "trials").iterdir()}
    assert {path.name for path in stranger.sound} <= left
    assert not stranger.unread() & left
    stranger.untouched()


def test_the_leaderboard_ranks_the_sound_and_names_the_others(stranger: Stranger) -> None:
    table = stranger.cli("leaderboard", "many.toml", *THEIRS, "--format", "json")
    for name in stranger.unread():
        assert name in table.stderr
    for name in ("no table as curve", "rows by the million", "one long text in each row"):
        assert stranger.bad[name].name in table.stderr, name
    (row,) = json.loads(table.stdout)["rows"]
    assert (row["seeds"], row["failed"]) == (SOUND + 4, 1), table.stderr  # and three whose curves are sound
    stranger.untouched()


def test_the_report_shows_the_sound_and_names_the_others(stranger: Stranger) -> None:
    stranger.cli("report", "many.toml", *THEIRS)
    page = (stranger.cli.folder / "report.html").read_text(encoding="utf-8")
    for name in stranger.unread():
        assert name in page
    stranger.new = ("report.html",)
    stranger.untouched()


def test_the_app_shows_the_sound_and_names_the_others(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_RESULTS", str(stranger.cli.folder / "theirs"))
    monkeypatch.chdir(stranger.cli.folder)
    app = AppTest.from_file(APP_SCRIPT, default_timeout=120)
    app.query_params["source"] = "local"
    app.query_params["benchmark"] = "many"
    app.run()
    assert not app.exception, app.exception
    warned = " ".join(item.value for item in app.warning)
    for name in stranger.unread():
        assert name in warned
    stranger.untouched()


def test_import_takes_the_sound_alone_with_modes_of_its_own(stranger: Stranger) -> None:
    if hasattr(os, "geteuid"):
        (stranger.sound[0] / "curve.parquet").chmod(0o6777)
    done = stranger.cli.json("results", "import", "theirs", code=1)["benchmarks"]["many"]
    added = set(done["added"])
    assert {path.name for path in stranger.sound} <= added
    assert not stranger.unread() & added
    assert stranger.unread() <= set(done["damaged"])
    mine = stranger.cli.folder / "results" / "local" / "many"
    for path in mine.rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or path.is_file()
        assert path.stat().st_mode & 0o7111 == (0o111 if path.is_dir() else 0) & path.stat().st_mode
    stranger.new = ("results",)
    stranger.untouched()


def test_export_writes_the_sound_and_names_the_others(stranger: Stranger) -> None:
    done = stranger.cli("results", "export", "all.csv", *THEIRS)
    for name in stranger.unread():
        assert name in done.stderr
    written = (stranger.cli.folder / "all.csv").read_text(encoding="utf-8")
    assert stranger.hashes() <= set(re.findall(r"[0-9a-f]{12}", written))
    stranger.new = ("all.csv",)
    stranger.untouched()


def test_compact_puts_in_order_inside_of_the_folder_alone(stranger: Stranger) -> None:
    done = stranger.cli("results", "compact", *THEIRS)
    assert f"{SOUND + len(hostile.SHOWN)} trials in the index" in done.stdout
    for name in stranger.unread():
        assert name in done.stderr
    assert {path.name for path in stranger.sound} <= {path.name for path in (stranger.results / "trials").iterdir()}
    stranger.untouched()


def test_delete_takes_what_it_is_asked_for_and_follows_no_link(stranger: Stranger) -> None:
    told = stranger.cli("results", "delete", stranger.sound[0].name.rpartition("--")[2], "--yes", *THEIRS, code=1)
    assert "cannot be deleted" in told.stderr
    gone = stranger.sound[1]
    stranger.cli("results", "delete", gone.name.rpartition("--")[2], "--yes", *THEIRS)
    assert not gone.exists()
    link = stranger.bad["trial is a link"]
    told = stranger.cli("results", "delete", link.name.rpartition("--")[2], "--yes", *THEIRS, code=2)
    assert "is a symbolic link" in told.stderr
    stranger.cli("results", "delete", "--failed", "--yes", *THEIRS)
    assert {path.name for path in stranger.sound[2:]} <= {path.name for path in (stranger.results / "trials").iterdir()}
    stranger.untouched()


def test_a_run_in_the_folder_trains_what_is_not_sound_and_stays_inside(stranger: Stranger) -> None:
    report = stranger.cli.json("run", "many.toml", "--seeds", str(SOUND + 8), *THEIRS)
    assert report["trials"]["failed"] == 0
    stranger.untouched()


@pytest.mark.parametrize("name", ["trials", ".working", ".partial", "timings", "set-aside"])
def test_no_folder_of_the_results_is_written_through_a_link(stranger: Stranger, name: str) -> None:
    place = stranger.results / name
    if place.is_dir():
        shutil.rmtree(place)
    place.symlink_to(stranger.outside, target_is_directory=True)
    for words in (["results", "compact"], ["results", "verify", "--set-aside"], ["run", "many.toml", "--timed"]):
        told = stranger.cli.anyhow(*words, *THEIRS)
        assert "Traceback" not in told.stderr
    stranger.untouched()


def test_a_trial_whose_curve_cannot_be_read_is_trained_again(stranger: Stranger) -> None:
    """Its document and its digests are sound."""
    bad = [stranger.bad[name] for name in ("rows by the million", "one long text in each row", "no table as curve")]
    stranger.cli("run", "many.toml", "--quiet", *THEIRS)
    said = stranger.cli("leaderboard", "many.toml", *THEIRS).stderr
    assert not [path.name for path in bad if path.name in said]
    assert stranger.cli.json("run", "many.toml", *THEIRS)["trials"]["trained"] == 0
    stranger.untouched()


def test_verify_names_what_is_no_file_beside_the_trials_and_sets_it_aside(stranger: Stranger) -> None:
    file = stranger.results / "benchmark.toml"
    file.unlink()
    os.mkfifo(file)
    named = {Path(fault["path"]).name for fault in stranger.cli.json("results", "verify", *THEIRS, code=1)["faults"]}
    assert {"benchmark.toml", "444444444444", f"{hostile.FAR}--training.pt", f"{hostile.FAR}--line"} <= named
    stranger.cli("results", "verify", "--set-aside", *THEIRS, code=1)
    assert not file.exists()
    assert (stranger.results / "set-aside" / "benchmark.toml").is_fifo()
    stranger.untouched()
