"""``thalweg time`` times both sides in turn, each with its own version of a plugin."""

from __future__ import annotations

import pytest

from support import SCALED_SGD, TINY, CommandLine

BENCHMARK = TINY.split("[optimizers.")[0] + "[optimizers.mine]\nlr = 0.001\n"
SLOW = """
    def step(self, closure=None):
        import time
        time.sleep(0.01)
        return super().step(closure)
"""


@pytest.fixture
def timed(cli: CommandLine) -> CommandLine:
    (cli.folder / "small.toml").write_text(BENCHMARK, encoding="utf-8")
    fast = SCALED_SGD.replace("FACTOR", "1.0")
    (cli.folder / "fast.py").write_text(fast, encoding="utf-8")
    body = "        super().__init__(params, lr=lr * 1.0)\n"
    (cli.folder / "slow.py").write_text(fast.replace(body, body + SLOW), encoding="utf-8")
    for results in ("base", "new"):
        cli("run", "small.toml", "--plugin", "fast.py", "--results", results, "--quiet")
    return cli


def test_a_step_that_sleeps_is_slower_and_blocks_are_the_seeds(timed: CommandLine) -> None:
    words = ("base", "new", "--blocks", "6", "--plugin-baseline", "fast.py", "--plugin-candidate", "slow.py", "--quiet")
    found = timed.json("time", *words, code=1)
    (row,) = found["rows"]
    assert (row["metric"], row["verdict"], row["seeds"]) == ("step_seconds", "worse", 6)
    assert row["candidate"] > 0.01
    assert row["low"] > 0.1
    assert found["notes"][0].startswith("blocks of both sides took turns, 6 of each")
    back = timed.json("time", *(words[:4]), "--plugin-baseline", "slow.py", "--plugin-candidate", "fast.py", "-q")
    assert back["verdict"] == "better"


def test_what_cannot_be_timed_is_one_line(timed: CommandLine) -> None:
    plugins = ("--plugin-baseline", "fast.py", "--plugin-candidate", "fast.py", "--quiet")
    unknown = timed("time", "base", "new", *plugins, "--workload", "bowls", code=2).stderr
    assert "--workload: no workload 'bowls'" in unknown
    (timed.folder / "broken.py").write_text(
        (timed.folder / "slow.py").read_text(encoding="utf-8").replace("time.sleep(0.01)", "raise ValueError('no')"),
        encoding="utf-8",
    )
    broken = ("--plugin-baseline", "fast.py", "--plugin-candidate", "broken.py", "--quiet")
    text = timed("time", "base", "new", *broken, code=2).stderr
    assert "new: its steps were not timed: ValueError: no" in text
