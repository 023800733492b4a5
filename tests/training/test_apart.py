"""Computations in a forked process."""

from __future__ import annotations

import os
import sys
import time

import pytest

from thalweg.training import apart

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


def test_an_answer_comes_back_and_nothing_else() -> None:
    kept: list[int] = []

    def ask() -> int:
        kept.append(1)
        return os.getpid()

    assert apart.apart(ask) != os.getpid()
    assert kept == []


def test_a_fork_that_ends_has_no_answer() -> None:
    assert apart.apart(lambda: os._exit(3)) is None


def test_a_fork_that_hangs_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "WAIT", 0.1)
    assert apart.apart(lambda: time.sleep(600)) is None
