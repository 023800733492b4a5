"""``thalweg gate`` trains both sides until they are decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import SCALED_SGD, TINY, CommandLine

GATE = TINY.replace("seeds = 1", "seeds = 2") + '\n[workloads.bowl.target]\nmetric = "loss"\nvalue = 5.0\n'
GATE = (
    GATE.split("[optimizers.")[0] + "[optimizers.mine]\nlr = 0.01\n" + "\n[workloads" + GATE.split("\n[workloads")[-1]
)


@pytest.fixture
def gate(cli: CommandLine) -> CommandLine:
    (cli.folder / "gate.toml").write_text(GATE, encoding="utf-8")
    for name, factor in (("old", 1.0), ("again", 1.0), ("slow", 0.25)):
        (cli.folder / f"{name}.py").write_text(SCALED_SGD.replace("FACTOR", str(factor)), encoding="utf-8")
    return cli


def trials(folder: Path) -> int:
    return len(list(folder.glob("gate/trials/*")))


WORDS = ("--benchmark", "gate.toml", "--plugin-baseline", "old.py")


def test_a_change_of_no_number_is_the_same_at_five_seeds(gate: CommandLine) -> None:
    found = gate.json("gate", "base", "new", *WORDS, "--plugin-candidate", "again.py", "--quiet")
    assert found["verdict"] == "same"
    assert all(row["equal"] and row["seeds"] == 5 for row in found["rows"])
    assert trials(gate.folder / "base") == trials(gate.folder / "new") == 5
    assert found["notes"][-1].startswith("looks were planned at 5, 7, 10, 14, 19, 26, 40 seeds for 2 rows")


def test_a_slower_step_is_worse_after_the_seeds_that_show_it_and_trained_seeds_are_kept(gate: CommandLine) -> None:
    done = gate("gate", "base", "new", *WORDS, "--plugin-candidate", "slow.py", "--format", "markdown", code=1)
    assert done.stdout.startswith("**worse: new against base (")
    assert "5 seeds leave 2 of 2 rows undecided: 7 seeds are next" in done.stderr
    assert trials(gate.folder / "base") == trials(gate.folder / "new") == 7
    # more seeds than a look is planned to see change nothing
    gate("run", "gate.toml", "--plugin", "old.py", "--seeds", "12", "--results", "base", "--quiet")
    again = gate.json("gate", "base", "new", *WORDS, "--plugin-candidate", "slow.py", "--quiet", code=1)
    assert {row["seeds"] for row in again["rows"]} == {7}


def test_mistakes_are_one_line_and_train_nothing(gate: CommandLine) -> None:
    for words, expected in (
        (("--max-seeds", "3"), "--max-seeds 3: 2 rows take at least"),
        (("--margin", "3"), "--margin 3: give percentage points"),
        (("--metric", "los"), "no metric 'los'; did you mean 'loss'?"),
        (("--metric", "seconds_to_target"), "'thalweg time BASELINE CANDIDATE' compares seconds"),
    ):
        text = gate("gate", "base", "new", *WORDS, "--plugin-candidate", "again.py", *words, code=2).stderr
        assert expected in text
        assert len(text.strip().splitlines()) == 1
    assert not (gate.folder / "base").exists()
    missing = gate("gate", "base", "new", "--benchmark", "gate.toml", "--plugin-baseline", "none.py",
                   "--plugin-candidate", "again.py", code=2).stderr  # fmt: skip
    assert missing == "error: --plugin none.py: there is no such file\n"


def test_each_side_counts_the_version_that_is_trained_now(gate: CommandLine) -> None:
    """The folder holds results of another version, which once took the place of the newly trained ones."""
    swapped = ("--benchmark", "gate.toml", "--quiet", "--plugin-baseline")
    gate.json("gate", "base", "new", *swapped, "slow.py", "--plugin-candidate", "old.py")
    back = gate.json("gate", "base", "new", *swapped, "old.py", "--plugin-candidate", "slow.py", code=1)
    assert back["verdict"] == "worse"
    fresh = gate.json("gate", "b", "c", *swapped, "old.py", "--plugin-candidate", "slow.py", code=1)
    assert [row["difference"] for row in back["rows"]] == [row["difference"] for row in fresh["rows"]]


def test_one_folder_for_both_sides_is_refused(gate: CommandLine) -> None:
    (gate.folder / "link").symlink_to(gate.folder / "base", target_is_directory=True)
    for other in ("base", "link"):
        refused = gate("gate", "base", other, *WORDS, "--plugin-candidate", "slow.py", code=2).stderr
        assert f"{other}: is the folder of the baseline too" in refused
    missing = gate("gate", "a", "b", *WORDS, "--plugin-candidate", "old.py", "--python-baseline", "/no/python", code=2)
    assert "--python-baseline /no/python: there is no such program" in missing.stderr


def test_a_benchmark_that_tunes_can_be_gated(gate: CommandLine) -> None:
    (gate.folder / "gate.toml").write_text(GATE + "\n[tuning]\nbudgets = [2]\n", encoding="utf-8")
    found = gate.json("gate", "base", "new", *WORDS, "--plugin-candidate", "again.py", "--quiet")
    assert found["verdict"] == "same"
    assert all(row["seeds"] == 5 for row in found["rows"])
