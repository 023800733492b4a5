"""The tables of docs/results.md are those of the reference results."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import results_tables


@pytest.mark.parametrize("name", results_tables.BLOCKS)
def test_a_block_is_what_the_reference_results_give(name: str) -> None:
    assert results_tables.block(name) == results_tables.BLOCKS[name]()


def test_numbers_stand_in_blocks_alone() -> None:
    """A sentence that repeats a result would drift from it."""
    text = results_tables.PAGE.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- [^>]*: docs/results_tables.py -->.*?<!-- end -->|```.*?```", "", text, flags=re.DOTALL)
    assert re.findall(r"\d+\.\d+|\d+%|\d+ points?\b", prose) == []
