"""Every command finishes on folders deeper than Python's recursion, and on the longest names of a file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import hostile
from support import TINY, CommandLine, results
from thalweg import guard
from thalweg.store.weights import write_weights

needs_dir_fd = pytest.mark.skipif(os.rename not in os.supports_dir_fd, reason="no folders deeper than a path here")

LONG = "a" * 255
"""As long as a name may be."""


def deep(folder: Path, levels: int = 1200) -> None:
    """Folders in folders, more of them than Python calls functions, with a file at the bottom."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deep", dir_fd=place)
        inside = os.open("deep", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inside
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)


@needs_dir_fd
def test_a_deep_folder_goes_and_what_it_links_to_stays(tmp_path: Path) -> None:
    outside = hostile.outside_of(tmp_path)
    before = hostile.tree(outside)
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "link").symlink_to(outside, target_is_directory=True)
    (folder / "deep" / "link").symlink_to(outside, target_is_directory=True)
    deep(folder / "deep")
    guard.remove_tree(folder)
    assert not folder.exists()
    assert hostile.tree(outside) == before


def test_what_cannot_be_removed_is_told_or_left(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        guard.remove_tree(tmp_path / "nothing")
    guard.remove_left(tmp_path / "nothing")


def test_a_name_that_nothing_has_is_one_that_can_be_made(tmp_path: Path) -> None:
    for name in (LONG, "é" * 127, "short"):
        for _ in range(3):
            guard.unused(tmp_path, name).mkdir()
    assert len(list(tmp_path.iterdir())) == 9
    assert {"short", "short (2)", "short (3)"} < {path.name for path in tmp_path.iterdir()}


@pytest.fixture
def tiny_run(cli: CommandLine) -> Iterator[CommandLine]:
    (cli.folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    cli("run", "tiny.toml", "--quiet")
    yield cli
    # what a test that fails leaves is too deep for pytest
    guard.remove_tree(cli.folder)


def _here(cli: CommandLine) -> Path:
    return cli.folder / "results" / "local" / "tiny"


@needs_dir_fd
def test_commands_go_on_beside_deep_folders(tiny_run: CommandLine) -> None:
    here = _here(tiny_run)
    trial = results(tiny_run, "tiny").scan()[0][0]
    killed = here / ".working" / ("1" * 12)
    for place in (trial.path, killed, here / ".working" / f"{trial.document.hash}.old"):
        place.mkdir(exist_ok=True)
        deep(place)
    (here / ".partial").mkdir(exist_ok=True)
    (here / ".partial" / f"{'2' * 12}--x").mkdir()
    assert "Traceback" not in tiny_run("results", "verify", code=1).stderr
    tiny_run("results", "compact")
    tiny_run("run", "tiny.toml")
    assert not killed.exists()
    tiny_run("results", "delete", trial.document.hash, "--yes")
    assert not list((here / "trials").glob(f"*--{trial.document.hash}"))


def test_one_thing_that_cannot_be_set_aside_keeps_no_other_from_it(tiny_run: CommandLine) -> None:
    here = _here(tiny_run)
    for name in (LONG, "zzz"):
        (here / "trials" / name).mkdir()
        (here / "set-aside" / name[:200]).mkdir(parents=True)
    # the lock of a trial that cannot be held
    stuck = here / "trials" / f"bowl--sgd--{'3' * 12}"
    stuck.mkdir()
    (here / ".working" / f"{'3' * 12}.lock").mkdir()
    told = tiny_run("results", "verify", "--set-aside", code=1)
    assert f"{stuck.name} cannot be set aside" in told.stderr.replace("\n", "")
    assert stuck.exists()
    assert {path.name for path in (here / "set-aside").iterdir()} == {LONG[:200], f"{LONG[:200]} (2)", "zzz", "zzz (2)"}


def test_a_file_in_place_of_a_folder_is_told_by_its_kind(tiny_run: CommandLine) -> None:
    here = _here(tiny_run)
    (here / "trials" / "zzz").mkdir()
    (here / "set-aside").write_text("", encoding="utf-8")
    told = tiny_run("results", "verify", "--set-aside", code=1)
    assert "cannot be set aside: is a regular file" in told.stderr


def _theirs(cli: CommandLine) -> Path:
    """Equal results that belong to another user."""
    (cli.folder / "results" / "local").rename(cli.folder / "theirs")
    return cli.folder / "theirs" / "tiny"


def _goes(place: Path) -> None:
    place.unlink()


def _becomes_a_pipe(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def _becomes_a_link(place: Path) -> None:
    place.unlink()
    place.symlink_to("/dev/zero")


def _changes(place: Path) -> None:
    place.write_text("[", encoding="utf-8")


@pytest.mark.parametrize("change", [_goes, _becomes_a_pipe, _becomes_a_link, _changes])
@pytest.mark.parametrize("name", ["curve.parquet", "trial.json"])
def test_a_trial_that_changes_while_it_is_imported_costs_itself_alone(
    tiny_run: CommandLine, monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Path], None]
) -> None:
    first, *others = sorted((_theirs(tiny_run) / "trials").iterdir())
    assert others
    real_check = guard.check_inside
    seen: list[object] = []

    def check(folder: Path, file: str) -> os.stat_result:
        """A user who may write to the folder can act between the check of a file and its opening."""
        found = real_check(folder, file)
        if folder.absolute() == first and file == "curve.parquet":
            seen.append(file)
            # faults_of looks first; the copy comes after it
            if len(seen) == looks:
                change(first / name)
        return found

    # a scan looks, verify looks when it digests, the copy looks before and while it opens
    looks = 4
    monkeypatch.setattr(guard, "check_inside", check)
    done = tiny_run.json("results", "import", "theirs", code=1)["benchmarks"]["tiny"]
    assert len(seen) == looks
    assert list(done["damaged"]) == [first.name]
    assert name in done["damaged"][first.name]
    assert done["added"] == [path.name for path in others]
    here = tiny_run.folder / "results" / "local" / "tiny"
    assert sorted(path.name for path in (here / "trials").iterdir()) == done["added"]
    assert [path.name for path in (here / ".working").iterdir() if path.suffix != ".lock"] == []


def test_a_results_folder_may_be_a_link_and_a_benchmarks_says_so(tiny_run: CommandLine) -> None:
    root = tiny_run.folder / "results" / "local"
    root.rename(tiny_run.folder / "disk")
    root.symlink_to(tiny_run.folder / "disk", target_is_directory=True)
    tiny_run("run", "tiny.toml", "--quiet", "--seeds", "2")
    assert "whole trials, 0 faults" in tiny_run("results", "verify").stdout
    (root / "tiny").rename(tiny_run.folder / "elsewhere")
    (root / "tiny").symlink_to(tiny_run.folder / "elsewhere", target_is_directory=True)
    for words in (["results", "list"], ["leaderboard", "tiny.toml"], ["report", "tiny.toml"]):
        assert "only the results folder itself may be a link" in tiny_run(*words, code=3).stderr
    told = tiny_run("results", "import", str(tiny_run.folder / "disk"), code=2)
    assert "is the results folder to import into" in told.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs modes of POSIX")
def test_whoever_may_read_results_may_read_their_weights(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_weights({"final": {"x": torch.ones(1)}}, tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "weights" / "final.safetensors").stat().st_mode & 0o777 == 0o640
