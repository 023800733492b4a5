"""A clock that is wrong or set back changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from faults import tiny
from support import CommandLine, leftovers, results, statuses


def test_times_of_files_do_not_count(cli: CommandLine) -> None:
    words = tiny(cli, "memory-error")
    cli(*words, code=1)
    board = cli.json("leaderboard", "tiny.toml")
    for seconds in (0, 4_000_000_000):  # 1970 and 2096
        for path in [results(cli, "tiny").path, *results(cli, "tiny").path.rglob("*")]:
            os.utime(path, (seconds, seconds))
        report = cli.json(*words, code=1)
        assert (report["trials"]["cached"], report["trials"]["failed"]) == (2, 1)
        assert cli.json("leaderboard", "tiny.toml") == board
        cli("results", "verify")
    # a file that was edited in between has its new content read, although it is now older than what was read before
    (path,) = results(cli, "tiny").trials.glob("*--sgd--*")
    (path / "trial.json").write_text("{", encoding="utf-8")
    assert cli.json(*words, code=1)["trials"]["cached"] == 1
    assert statuses(cli) == {"done": 2, "failed": 1}
    cli("results", "verify")


@pytest.mark.skipif(not shutil.which("faketime"), reason="needs faketime: apt-get install faketime")
def test_a_clock_set_back_twenty_years_between_two_runs(process_cli: CommandLine, cli: CommandLine) -> None:
    cli(*tiny(cli), "--only", "optimizer=adam")
    words = tiny(cli, "slow")
    # the loader's variables, as the command faketime sets them
    library = "/usr/$LIB/faketime/libfaketime.so.1"
    process_cli.environment |= {"LD_PRELOAD": library, "FAKETIME": "-20y"}
    clock = [sys.executable, "-c", "import time; print(time.time())"]
    now = float(subprocess.run(clock, env=process_cli.environment, capture_output=True, check=True).stdout)
    assert now < time.time() - 19 * 365 * 86400
    report = process_cli.json(*words)
    assert (report["trials"]["trained"], report["trials"]["cached"]) == (2, 1)
    assert cli.json(*words)["trials"]["cached"] == 3
    assert statuses(cli) == {"done": 3}
    assert leftovers(cli, "tiny") == []
    cli("results", "verify")
