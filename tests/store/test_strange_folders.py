"""Folders deeper than Python's recursion, and names as long as a file system has, cost no command its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import hostile
from support import TINY, CommandLine, results
from thalweg import guard

needs_dir_fd = pytest.mark.skipif(os.rename not in os.supports_dir_fd, reason="no folders deeper than a path here")

LONG = "a" * 255
"""As long as a name may be."""


def deep(folder: Path, levels: int = 1500) -> None:
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
def tiny_run(cli: CommandLine) -> CommandLine:
    (cli.folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    cli("run", "tiny.toml", "--quiet")
    return cli


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
