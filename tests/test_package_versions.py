"""The version of the package that a registered class comes from is part of a trial's hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import CommandLine

PLUGIN = """
import torch, thalweg

class Zopt(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Zopt)
"""


def test_an_upgrade_of_the_package_of_a_class_trains_anew(
    cli: CommandLine, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cli.folder / "mine.py").write_text(PLUGIN, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "mine.py", "--with", "optimizer=zopt", "--only", "optimizer=zopt"]
    words += ["--only", "workload=small", "--only", "seed=0"]
    hashes = []
    for version in ("1.0", "2.0", "1.0"):
        monkeypatch.setattr("thalweg.contracts.torch_adapter.package_of", lambda _, version=version: ("zopt", version))
        done = cli.json(*words)
        hashes.append((done["hashes"], done["trials"]["trained"]))
        board = cli.json("leaderboard", *words[1:6])
        assert [row["seeds"] for row in board["rows"] if row["optimizer"] == "zopt"] == [1]
    (first, trained), (second, again), (third, cached) = hashes
    assert (trained, again, cached) == (1, 1, 0)
    assert first == third != second
    # torch's own classes, and those of a file, have no such part
    monkeypatch.undo()
    (plain,) = cli.json(*words, "--dry-run")["trials"]
    assert plain["hash"] not in first + second
