"""A run trains nothing unless the data of all trials is on the machine."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from support import CommandLine, results
from thalweg_plugins.problems.mnist import MnistAutoencoder

BENCHMARK = """
seeds = 1
[workloads.here]
problem = "digits-autoencoder"
architecture = { name = "autoencoder", widths = [8] }
budget = { epochs = 1 }
[workloads.there]
problem = "mnist-autoencoder"
architecture = { name = "autoencoder", widths = [8] }
budget = { epochs = 1 }
[optimizers.sgd]
"""

PLUGIN = """
import thalweg
from thalweg_plugins.problems.digits import Digits


class Broken(Digits):
    name = "broken"

    def fetch(self, options):
        raise RuntimeError("the disk is on fire")

    def load(self, options, context):
        raise RuntimeError("the disk is on fire")


@thalweg.hookimpl
def thalweg_register_problems(register):
    register(Broken)
"""


@pytest.fixture
def offline(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """No data on the machine, and no server at the data's address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    files = tuple(replace(file, urls=(url + file.name,)) for file in MnistAutoencoder.files)
    monkeypatch.setattr(MnistAutoencoder, "files", files)
    cli.environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "small.toml").write_text(BENCHMARK, encoding="utf-8")
    return cli


def test_data_that_cannot_be_had_is_one_line_and_nothing_trains(offline: CommandLine) -> None:
    done = offline("run", "small.toml", code=2)
    (line,) = [line for line in done.stderr.splitlines() if "could not be downloaded" in line]
    assert line.startswith("error: mnist: train-images-idx3-ubyte.gz could not be downloaded")
    assert "$THALWEG_DATA/mnist/" in line
    assert "Traceback" not in done.stderr
    assert results(offline).scan() == ([], [])


def test_only_what_is_to_be_trained_is_fetched(offline: CommandLine) -> None:
    offline("run", "small.toml", "--only", "workload=here")
    assert len(results(offline).scan()[0]) == 1


def test_a_plugin_whose_fetch_is_broken_costs_its_own_trials(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(PLUGIN, encoding="utf-8")
    text = BENCHMARK.replace("mnist-autoencoder", "broken").replace(
        """problem = "broken"
architecture = { name = "autoencoder", widths = [8] }""",
        """problem = "broken"
architecture = "linear\"""",
    )
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    report = cli.json("run", "small.toml", "--plugin", "broken.py", code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (2, 1)
    assert "on fire" in report["failures"][0]["message"]
