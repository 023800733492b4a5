"""Sentences that several pages share."""

from __future__ import annotations

import pytest

from thalweg.present.sentences import few


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", "b", "c"], ["a", "b", "and 1 more"]),
        (["a"] * 1002, ["a", "a", "and 1,000 more"]),
    ],
)
def test_of_many_lines_a_few_are_shown_and_the_others_counted(lines: list[str], shown: list[str]) -> None:
    assert few(lines, 2) == shown
