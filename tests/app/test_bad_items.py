"""One bad item among results hides no good one: every page draws, and the page names the item."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

Show = Callable[..., AppTest]

PAGES = (
    "start", "leaderboard", "tuning", "curves", "landscape", "trials", "trial", "compare", "live", "playground",
    "claims", "plugins",
)  # fmt: skip


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder one that may not be listed or entered, also where the tests run as root."""
    paths: list[str] = []

    def refuse(original: Callable[..., Any], inside: bool) -> Callable[..., Any]:
        def call(path: Any = ".", *given: Any, **named: Any) -> Any:
            text = path if isinstance(path, int) else os.fspath(path)
            for one in paths:
                if text == one or (inside and isinstance(text, str) and text.startswith(f"{one}{os.sep}")):
                    if inside and text == one:
                        break
                    raise PermissionError(13, "Permission denied", text)
            return original(path, *given, **named)

        return call

    for name, inside in (("listdir", False), ("scandir", False), ("lstat", True), ("stat", True), ("open", True)):
        monkeypatch.setattr(os, name, refuse(getattr(os, name), inside))
    return lambda path: paths.append(str(path))


def told(page: AppTest) -> str:
    """Every warning and error of a page."""
    return "\n".join([*(each.value for each in page.warning), *(each.value for each in page.error)])


@pytest.mark.parametrize("page", PAGES)
def test_names_that_are_not_utf_8(show: Show, copied: Path, page: str) -> None:
    name = os.fsdecode(b"caf\xe9")
    (copied / name / "trials").mkdir(parents=True)
    (copied / "tiny" / "trials" / f"{name}--0123456789ab").mkdir()
    shown = show(page, copied, benchmark="tiny")
    assert not shown.exception
    if page not in ("claims", "plugins"):
        assert "caf\\\\udce9" in told(shown)


@pytest.mark.parametrize("page", ["leaderboard", "landscape", "claims"])
@pytest.mark.parametrize("place", ["outside", "outside/trials", "tiny/trials/*/probes", "claims"])
def test_folders_that_may_not_be_read(
    show: Show, copied: Path, closed: Callable[[Path], None], page: str, place: str
) -> None:
    if place == "claims":
        (copied / "claims" / "trained" / "trials").mkdir(parents=True)
    for path in copied.glob(place):
        closed(path)
    shown = show(page, copied, benchmark="tiny")
    assert not shown.exception
    if place.startswith("outside") and page not in ("claims", "plugins"):
        assert "outside" in told(shown)
        assert "Permission denied" in told(shown)


@pytest.mark.parametrize("page", ["leaderboard", "claims"])
def test_a_results_folder_that_may_not_be_read(
    show: Show, copied: Path, closed: Callable[[Path], None], page: str
) -> None:
    closed(copied)
    shown = show(page, copied)
    assert not shown.exception


@pytest.mark.parametrize("page", ["leaderboard", "curves", "landscape"])
def test_a_workload_that_was_renamed_in_the_kept_file(show: Show, copied: Path, page: str) -> None:
    kept = copied / "tiny" / "benchmark.toml"
    text = kept.read_text(encoding="utf-8")
    kept.write_text(text.replace("digits-mlp", "renamed"), encoding="utf-8")
    assert not show(page, copied, benchmark="tiny").exception
    for path in (copied / "tiny" / "trials").iterdir():
        hash_ = path.name.rpartition("--")[2]
        assert not show("trial", copied, benchmark="tiny", trial=hash_).exception


@pytest.mark.parametrize("key", ["a/b--01234567", "..", "a\nb--01234567", "__init__--01234567"])
def test_keys_of_probes_that_no_run_writes(show: Show, copied: Path, key: str) -> None:
    for path in (copied / "tiny" / "trials").iterdir():
        file = path / "trial.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        document["probes"] = {key if name.startswith("line") else name: one for name, one in document["probes"].items()}
        file.write_text(json.dumps(document), encoding="utf-8")
    for page in ("leaderboard", "landscape", "trial"):
        assert not show(page, copied, benchmark="tiny").exception
