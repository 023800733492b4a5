"""The tables of docs/checks.md, from the conformance kit: ``python docs/checks.py`` writes them into the page."""

from __future__ import annotations

import re
from pathlib import Path

from thalweg.testing.kit import CHECKS

PAGE = Path(__file__).parent / "checks.md"
BEGIN, END = "<!-- checks: python docs/checks.py -->", "<!-- end -->"


def tables() -> str:
    """A section with a table for each kind of component."""
    return "\n\n".join(f"## {kind}\n\n{_table(kind)}" for kind in CHECKS)


def _table(kind: str) -> str:
    rows = [
        f"| `{one.name}` | {one.finds.replace('``', '`').replace('|', chr(92) + '|')} | {one.means} |"
        for one in CHECKS[kind]
    ]
    return "\n".join(["| check | what it finds | what a failing check means |", "| --- | --- | --- |", *rows])


def page(text: str) -> str:
    """The page with new tables."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{tables()}\n\n{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
