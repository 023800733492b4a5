"""What every script of this folder shares: the runs of the ten curves, and a neutral place to log them in."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# some libraries write down the names of the machine, its system and its user; these files belong to none
socket.gethostname = platform.node = lambda: "host"
platform.platform = platform.release = platform.version = lambda *_, **__: "Linux"
os.environ |= {"LOGNAME": "user", "USER": "user"}

from importing_runs import STEPS, ten_curves  # noqa: E402

RATES = {"adam": 0.001, "sgd": 0.1}
EPOCH = 10
"""The optimizer steps between two values, which is one epoch for the libraries that count epochs."""


class Run(NamedTuple):
    """One curve with its hyperparameters; a list holds one value for each ten optimizer steps."""

    optimizer: str
    seed: int
    loss: list[float]
    accuracy: list[float]

    @property
    def name(self) -> str:
        return f"{self.optimizer}-{self.seed}"

    @property
    def lr(self) -> float:
        return RATES[self.optimizer]

    @property
    def hyperparameters(self) -> dict[str, str | int | float]:
        return {"optimizer": self.optimizer, "seed": self.seed, "lr": self.lr}

    def rows(self) -> Iterator[tuple[int, float, float]]:
        """Each step with its training loss and its validation accuracy."""
        return zip(STEPS, self.loss, self.accuracy, strict=True)


def runs() -> Iterator[Run]:
    """The ten runs, in the order of the table."""
    for (optimizer, seed), rows in ten_curves().groupby(["optimizer", "seed"], sort=True):
        curve = rows.sort_values("step").set_index("metric")["value"]
        yield Run(str(optimizer), int(seed), curve["loss"].tolist(), curve["accuracy"].tolist())


def output() -> Path:
    """The folder of the command line, as the current one, so that no library writes elsewhere."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    return Path()
