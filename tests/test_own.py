"""The user's own key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thalweg import own

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and pipes are POSIX's")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty state folder for the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    own.signing_key.cache_clear()
    yield tmp_path / "thalweg"
    own.signing_key.cache_clear()


def test_a_key_is_made_once_and_is_the_users_alone(state: Path) -> None:
    key = own.signing_key()
    own.signing_key.cache_clear()
    assert own.signing_key() == key
    assert len(key) == own.KEY_BYTES
    assert (state / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in state.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "is a pipe, and no key"),
        (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link, and no key"),
        (lambda path: path.write_bytes(bytes(100)), "has 100 bytes"),
        (lambda path: (path.write_bytes(bytes(32)), path.chmod(0o644)), "may be read or changed by others"),
        (lambda path: (path.write_bytes(bytes(9)), path.chmod(0o600)), "is no key of 32 bytes"),
    ],
)
def test_what_is_no_key_is_told_and_not_waited_for(state: Path, make: Callable[[Path], object], says: str) -> None:
    state.mkdir()
    make(state / "key")
    with pytest.raises(OSError, match=says):
        own.signing_key()
