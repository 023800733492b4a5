"""Mistakes of plugins and damaged results: one line each, and nothing else is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from support import CommandLine
from thalweg.errors import UserError
from thalweg.store.claims import identity_hash

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "claims.thalweg"

BAD = """
import thalweg
from thalweg.scoring.ruled import RuledClaim
from thalweg.scoring.rules import PartRule, Rule

class Base(RuledClaim):
    summary, statement, source = "bad", "A statement.", "tests"
    seeds = {"quick": 2}
    rule = Rule(kind="empirical", parts=(PartRule(quantity="q", above=0.0),))
    def measure(self, context, seed):
        rows = thalweg.Measurements()
        rows.add("q", 1.0 + seed)
        return rows.table()
    def chart(self, table):
        import altair as alt
        return alt.Chart(table).mark_point().encode(x="value:Q")

class Good(Base):
    name = "good"

class Bad(Base):
    name = "NAME"
BODY

@thalweg.hookimpl
def thalweg_register_claims(register):
    register(Good)
    register(Bad)
"""


def write(cli: CommandLine, body: str, name: str = "bad") -> None:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (cli.folder / "mine.py").write_text(BAD.replace("BODY", lines).replace("NAME", name), encoding="utf-8")


WORDS = ("--results", "r", "--plugin", "mine.py")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def needs(self, tier):\n    raise OSError('\\x1b[31mno\\x07')", "claim bad: needs: OSError"),
        ("def needs(self, tier):\n    return None", "claim bad: needs: TypeError"),
        ("def needs(self, tier):\n    return ('text',)", "claim bad: needs must return experiments"),
        (
            "def needs(self, tier):\n    return (thalweg.Experiment('one', ['list']),)",
            "claim bad: needs must return experiments",
        ),
    ],
)
def test_needs_that_fail_are_one_line_and_cost_no_other_claim(cli: CommandLine, body: str, told: str) -> None:
    write(cli, body)
    alone = cli("claims", "run", "bad", *WORDS, "--quiet", code=2).stderr
    assert told in alone
    assert "\x1b" not in alone
    both = cli.json("claims", "run", "bad", "good", *WORDS, "--quiet", code=1)
    assert [row["verdict"] for row in both["claims"]] == [None, "inconclusive"]
    assert both["claims"][1]["seeds"] == 2
    assert both["failures"][0]["claim"] == "bad"


def test_data_that_cannot_be_had_costs_the_claims_that_need_it_and_no_other(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THALWEG_DATA", str(cli.folder / "nowhere"))
    monkeypatch.setattr("thalweg_plugins.problems.cifar.Cifar10.fetch", _unreachable)
    workload = {"problem": "cifar10", "architecture": "linear", "budget": {"steps": 1}, "batch_size": 8}
    content = {"seeds": 2, "workloads": {"w": workload}, "optimizers": {"sgd": {}}}
    write(cli, f"def needs(self, tier):\n    return (thalweg.Experiment('images', {content!r}),)")
    assert "cannot be had" in cli("claims", "run", "bad", *WORDS, "--quiet", code=2).stderr
    both = cli.json("claims", "run", "bad", "good", *WORDS, "--quiet", code=1)
    assert [row["seeds"] for row in both["claims"]] == [0, 2]
    assert (both["failures"][0]["claim"], both["failures"][0]["kind"]) == ("bad", "UserError")


def _unreachable(*_: Any) -> None:
    raise UserError("cifar10 cannot be had")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def decide(self, table, tier):\n    return 'holds'", "decide: TypeError: must return a Decision"),
        ("def decide(self, table, tier):\n    return None", "decide: TypeError: must return a Decision"),
        ("def decide(self, table, tier):\n    return thalweg.Decision('holds', ())", "no part that decides"),
        ("def decide(self, table, tier):\n    raise SystemExit(7)", "decide: SystemExit: 7"),
        ("def decide(self, table, tier):\n    raise KeyError('q')", "decide: KeyError"),
        (
            (
                "def decide(self, table, tier):\n    return thalweg.Decision('holds', "
                "(thalweg.Part('p', 'one', 0, 0, 0, 'holds'),))"
            ),
            "every part must be a Part with numbers",
        ),
    ],
)
def test_decide_that_fails_is_one_line_and_costs_no_other_claim(cli: CommandLine, body: str, told: str) -> None:
    write(cli, body)
    cli("claims", "run", "bad", "good", *WORDS, "--quiet", code=1)
    shown = cli.json("claims", "show", "bad", "good", *WORDS)["claims"]
    assert any(told in note for note in shown[0]["notes"])
    assert (shown[0]["verdict"], shown[0]["seeds"], shown[1]["verdict"]) == (None, 2, "inconclusive")
    assert "! not decided" in cli("claims", "show", "bad", *WORDS).stdout


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def measure(self, context, seed):\n    return 'table'", "measure must return a table"),
        (
            "def measure(self, context, seed):\n    return super().measure(context, seed).assign(value='1.5')",
            "column 'value' must hold numbers",
        ),
        (
            "def measure(self, context, seed):\n    return super().measure(context, seed).assign(value=1j)",
            "column 'value' must hold numbers",
        ),
        (
            (
                "def measure(self, context, seed):\n    import pandas as pd\n    rows = super().measure(context, seed)"
                "\n    return pd.concat([rows, rows])"
            ),
            "two values of '', 'q', ''",
        ),
        (
            "def measure(self, context, seed):\n    return super().measure(context, seed).drop(columns='note')",
            "no column 'note'",
        ),
        ("def measure(self, context, seed):\n    raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_measurements_that_are_none_are_one_line(cli: CommandLine, body: str, told: str) -> None:
    write(cli, body)
    found = cli.json("claims", "run", "bad", "good", *WORDS, "--quiet", code=1)
    assert any(told in note for note in found["claims"][0]["notes"])
    assert found["claims"][1]["seeds"] == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("trained", "folders of that name hold trials"),
        ("a2", "already registered"),
        ("A", "is no id such as"),
        ("../x", "is no id such as"),
    ],
)
def test_ids_that_would_be_taken_for_others_are_refused(cli: CommandLine, name: str, told: str) -> None:
    write(cli, "pass", name)
    record = cli.json("plugins", "--plugin", "mine.py")["plugins"][-1]
    assert told in record["error"]


def test_a_figure_that_is_none_is_one_line(cli: CommandLine) -> None:
    write(cli, "def figures(self, table):\n    return {'one': None}")
    cli("claims", "run", "bad", "good", *WORDS, "--quiet")
    text = cli("claims", "figures", "bad", "good", *WORDS, "--out", "drawn", code=3).stderr
    assert "bad: one: AttributeError" in text
    assert "no figure comes from good" in cli("claims", "figures", "good", *WORDS, code=3).stderr


def test_the_kind_of_a_rule_is_the_kind_of_its_claim(cli: CommandLine) -> None:
    write(cli, "rule = Rule(kind='theorem', parts=(PartRule(quantity='q', above=0.0),))")
    found = cli.json("claims", "run", "bad", *WORDS, "--quiet")["claims"][0]
    assert (found["theorem"], found["verdict"]) == (True, "holds")


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "abc"},
        {"revision": [1]},
        {"packages": [1]},
        {"packages": {"torch": {"a": 1}}},
        {"device": None},
        {"experiments": 3},
    ],
)
def test_an_odd_identity_is_a_note_of_its_claim(cli: CommandLine, change: dict[str, Any]) -> None:
    write(cli, "pass")
    cli("claims", "run", "bad", "good", *WORDS, "--quiet")
    (folder,) = (cli.folder / "r/claims/bad").iterdir()
    document = json.loads((folder / "claim.json").read_text(encoding="utf-8"))
    document["identity"] |= change
    (folder / "claim.json").write_text(json.dumps(document), encoding="utf-8")
    folder.rename(folder.with_name(f"quick--{identity_hash(document['identity'])}"))
    shown = cli.json("claims", "show", "bad", "good", *WORDS)["claims"]
    assert "measured with" in shown[0]["notes"][0]
    assert shown[1]["notes"] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"measured": {"abc": {}}}, "measured.abc"),
        ({"schema": 2}, "schema"),
        ({"training_seconds": 1e300}, "training_seconds"),
        ({"id": "good"}, "belongs into good/"),
    ],
)
def test_a_damaged_document_is_named_and_measured_again(cli: CommandLine, change: dict[str, Any], told: str) -> None:
    write(cli, "pass")
    cli("claims", "run", "bad", *WORDS, "--quiet")
    (folder,) = (cli.folder / "r/claims/bad").iterdir()
    document = json.loads((folder / "claim.json").read_text(encoding="utf-8"))
    (folder / "claim.json").write_text(json.dumps(document | change), encoding="utf-8")
    assert told in cli("claims", "report", "bad", *WORDS, code=3).stderr
    assert told in cli("results", "verify", "--results", "r", code=1).stdout
    assert cli.json("claims", "run", "bad", *WORDS, "--quiet")["claims"][0]["seeds"] == 2


def test_a_seed_with_an_error_does_not_count(cli: CommandLine) -> None:
    write(cli, "pass")
    cli("claims", "run", "bad", *WORDS, "--quiet")
    (folder,) = (cli.folder / "r/claims/bad").iterdir()
    document = json.loads((folder / "claim.json").read_text(encoding="utf-8"))
    document["measured"]["1"]["error"] = {"kind": "ValueError", "message": "no"}
    (folder / "claim.json").write_text(json.dumps(document), encoding="utf-8")
    shown = cli.json("claims", "show", "bad", *WORDS)["claims"][0]
    assert shown["parts"][0]["lost"] == ["seed 1: not measured"]


@pytest.mark.parametrize("kind", ["cut", "empty", "other", "renamed"])
def test_packed_claims_that_cannot_be_read_are_no_empty_folder(cli: CommandLine, kind: str) -> None:
    folder = cli.folder / "packed"
    folder.mkdir()
    content = REFERENCE.read_bytes()
    content = {"cut": content[:60_000], "empty": b"", "other": (REFERENCE.parent / "kfac.thalweg").read_bytes()}.get(
        kind, content
    )
    path = folder / ("foo.thalweg" if kind == "renamed" else "claims.thalweg")
    path.write_bytes(content)
    place = str(path) if kind == "renamed" else str(folder)
    for words in (("claims",), ("claims", "report"), ("claims", "run", "A1")):
        text = cli(*words, "--results", place, code=2).stderr
        assert path.name in text
        assert len(text.strip().splitlines()) == 1
    if kind != "renamed":
        assert "claims.thalweg" in cli("results", "verify", "--results", place, code=1).stdout


def test_trials_that_cannot_be_saved_are_no_success(cli: CommandLine) -> None:
    shutil.copy(ROOT / "tests" / "claims" / "claim_plugin.py", cli.folder / "mine.py")
    (cli.folder / "r" / "claims").mkdir(parents=True)
    (cli.folder / "target").mkdir()
    (cli.folder / "r" / "claims" / "trained").symlink_to(cli.folder / "target")
    text = cli("claims", "run", "losses", *WORDS, "--quiet", code=2).stderr
    assert "trained is a symbolic link" in text
    assert list((cli.folder / "target").iterdir()) == []


def test_verify_looks_at_the_trials_of_claims(cli: CommandLine) -> None:
    shutil.copy(ROOT / "tests" / "claims" / "claim_plugin.py", cli.folder / "mine.py")
    cli("claims", "run", "losses", *WORDS, "--quiet")
    assert "6 whole trials, 1 measured claim, 0 faults" in cli("results", "verify", "--results", "r").stdout
    curve = next((cli.folder / "r" / "claims" / "trained" / "trials").glob("*/curve.parquet"))
    curve.write_bytes(b"")
    assert "has changed since it was written" in cli("results", "verify", "--results", "r", code=1).stdout


def test_nothing_to_do_needs_no_lock(cli: CommandLine) -> None:
    write(cli, "pass")
    cli("claims", "run", "bad", *WORDS, "--quiet")
    shutil.rmtree(cli.folder / "r" / "claims" / ".working")
    os.mkfifo(cli.folder / "r" / "claims" / ".working")  # a lock could not be made here
    assert cli.json("claims", "run", "bad", *WORDS, "--quiet")["claims"][0]["seeds"] == 2


def test_out_is_for_html(cli: CommandLine) -> None:
    write(cli, "pass")
    cli("claims", "run", "bad", *WORDS, "--quiet")
    text = cli("claims", "report", *WORDS, "--format", "markdown", "--out", "r.md", code=2).stderr
    assert "--out: is the file of --format html" in text
