"""All built-in claims: none is missing, the rules are those that were fixed, and the reference results decide each."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from thalweg.claims.read import ClaimRow, entries_of, read_row
from thalweg.registry import Registry
from thalweg.scoring.rules import Rule
from thalweg.store.claims import ClaimResults
from thalweg_plugins.claims.lecture import RULES, _tables

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
COUNTS = {"A": 5, "B": 6, "C": 6, "D": 3, "E": 4, "F": 3, "G": 6, "H": 1, "I": 3, "J": 3, "K": 4, "L": 10}
IDS = [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]


@pytest.fixture(scope="module")
def lecture() -> ModuleType:
    """docs/lecture.py."""
    spec = importlib.util.spec_from_file_location("lecture", ROOT / "docs" / "lecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lecture"] = module
    spec.loader.exec_module(module)
    return module


def reference(registry: Registry, id_: str, tier: str = "quick") -> ClaimRow:
    (entry,) = entries_of(registry, [id_])
    return read_row(entry, tier, ClaimResults(REFERENCE), registry)


def test_the_rules_are_those_that_were_fixed_before_the_first_run(lecture: ModuleType) -> None:
    digest = hashlib.sha256(RULES.read_bytes()).hexdigest()
    assert digest == "a3200a918ba6981884ec18e628531c6469fe9e50b3b2274aa1c7e32da575a603"
    assert digest == lecture.RULES_SHA256


def test_every_claim_has_a_rule_and_every_rule_a_claim(registry: Registry) -> None:
    assert list(_tables()) == IDS
    built_in = [one.name for one in entries_of(registry) if one.plugin.name == "thalweg_plugins.claims"]
    assert built_in == IDS


@pytest.mark.parametrize("id_", IDS)
def test_rules_flip_in_every_part(id_: str) -> None:
    """Opposite measurements refute every part of a rule, and no part is decided by the wrong series."""
    rule = Rule.model_validate(_tables()[id_])
    seeds = rule.seeds.get("quick", 5)
    assert {part.verdict for part in rule.decide(rule.synthetic(1, 0.05, seeds), seeds).parts} == {"holds"}
    assert {part.verdict for part in rule.decide(rule.synthetic(-1, 0.05, seeds), seeds).parts} == {"not reproduced"}


@pytest.mark.parametrize("id_", IDS)
def test_reference_results_have_every_part_of_the_rule(registry: Registry, id_: str) -> None:
    """Each part was measured on each seed, here and by these versions; a seed without a value says why."""
    row = reference(registry, id_)
    assert row.stored is not None
    assert row.decision is not None
    assert row.seeds == row.claim.seeds["quick"]
    wrong = [note for note in row.notes if not note.startswith("measured with")]
    assert wrong == []
    for part in row.decision.parts:
        assert not any("not measured" in reason for reason in part.lost), part


def test_the_texts_of_claims_are_sentences(registry: Registry) -> None:
    for entry in entries_of(registry):
        claim = entry.component
        if entry.plugin.name != "thalweg_plugins.claims":
            continue
        for text in (claim.statement, claim.method, claim.caveat):
            assert text, entry.name
            assert text.strip().endswith((".", "?")), (entry.name, text[-40:])
            assert not re.search(r"  |[a-z]\.[A-Z][a-z]", text), text


def test_the_pages_are_those_that_the_measurements_give(registry: Registry, lecture: ModuleType) -> None:
    """``python docs/lecture.py`` writes them."""
    rows = lecture.rows_of(registry, ClaimResults(REFERENCE))
    pages = lecture.pages(rows)
    folder = ROOT / "docs" / "lecture"
    assert {path.name for path in folder.glob("*.md")} == set(pages)
    for name, text in pages.items():
        assert (folder / name).read_text(encoding="utf-8") == text, name
    drawn = {lecture.picture_of(row) for each in rows.values() for row in each if row.decision is not None}
    assert {path.name for path in (folder / "pictures").glob("*.svg")} == drawn
    for name in drawn:
        svg = (folder / "pictures" / name).read_text(encoding="utf-8")
        assert svg.startswith("<svg"), name
        # an empty picture has axes and rules alone
        assert re.search(r'aria-roledescription="(line mark|point|rect mark)"', svg), name
