"""``thalweg time`` times both sides in turn, each with its own version of a plugin."""

from __future__ import annotations

import pytest

from support import SCALED_SGD, TINY, CommandLine

BENCHMARK = TINY.split("[optimizers.")[0] + "[optimizers.mine]\nlr = 0.001\n"
CLOCK = """
        # a clock of its own, so that the test depends on no load; in the process that times alone
        import sys
        if sys.argv[0].endswith("time_worker.py"):
            from thalweg.training import steptime
            steptime.time = type("Clock", (), {"now": 0.0, "perf_counter": lambda: steptime.time.now})

    def step(self, closure=None):
        from thalweg.training import steptime
        if hasattr(steptime.time, "now"):
            steptime.time.now += COST
        return super().step(closure)
"""


@pytest.fixture
def timed(cli: CommandLine) -> CommandLine:
    (cli.folder / "small.toml").write_text(BENCHMARK, encoding="utf-8")
    plain = SCALED_SGD.replace("FACTOR", "1.0")
    body = "        super().__init__(params, lr=lr * 1.0)\n"
    assert body in plain
    for name, cost in (("fast", "0.001"), ("slow", "0.01")):
        source = plain.replace(body, body + CLOCK.replace("COST", cost))
        (cli.folder / f"{name}.py").write_text(source, encoding="utf-8")
    for results in ("base", "new"):
        cli("run", "small.toml", "--plugin", "fast.py", "--results", results, "--quiet")
    return cli


def test_a_step_that_takes_longer_is_slower_and_blocks_are_the_seeds(timed: CommandLine) -> None:
    words = ("base", "new", "--blocks", "6", "--plugin-baseline", "fast.py", "--plugin-candidate", "slow.py", "--quiet")
    found = timed.json("time", *words, code=1)
    (row,) = found["rows"]
    assert (row["metric"], row["verdict"], row["seeds"]) == ("step_seconds", "worse", 6)
    assert (row["baseline"], row["candidate"]) == (pytest.approx(0.001), pytest.approx(0.01))
    assert row["low"] == row["high"] == pytest.approx(9.0)
    assert found["notes"][0].startswith("blocks of both sides took turns, 6 of each")
    back = timed.json("time", *(words[:4]), "--plugin-baseline", "slow.py", "--plugin-candidate", "fast.py", "-q")
    assert back["verdict"] == "better"


def test_what_cannot_be_timed_is_one_line(timed: CommandLine) -> None:
    plugins = ("--plugin-baseline", "fast.py", "--plugin-candidate", "fast.py", "--quiet")
    unknown = timed("time", "base", "new", *plugins, "--workload", "bowls", code=2).stderr
    assert "--workload: no workload 'bowls'" in unknown
    (timed.folder / "broken.py").write_text(
        (timed.folder / "slow.py")
        .read_text(encoding="utf-8")
        .replace("return super().step(closure)", "raise ValueError('no')"),
        encoding="utf-8",
    )
    broken = ("--plugin-baseline", "fast.py", "--plugin-candidate", "broken.py", "--quiet")
    text = timed("time", "base", "new", *broken, code=2).stderr
    assert "new: its steps were not timed: ValueError: no" in text
