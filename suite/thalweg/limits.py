"""Limits of size. A larger request is refused in one line, before anything is allocated or trained.

A typing error in a size, or a stranger's file, must cost no more than a line. The limits are far above sensible sizes
and equal on every machine. An environment variable raises each limit.

>>> TRIALS.check(10**7, "bench.toml: 1 workload x 1 optimizer x 10,000,000 seeds")
Traceback (most recent call last):
thalweg.limits.TooMuch: bench.toml: 1 workload x 1 optimizer x 10,000,000 seeds: 10,000,000 trials are more \
than the limit of 1,000,000: THALWEG_MAX_TRIALS=10000000 allows it
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from thalweg.errors import UserError
from thalweg.shown import brief, digits


class TooMuch(UserError):  # noqa: N818 - a refusal
    """More was asked for than a limit allows."""


@dataclass(frozen=True)
class Limit:
    """One limit."""

    unit: str
    """The thing that is counted. The environment variable is named after it."""
    default: int
    what: str
    """A description for the documentation."""

    @property
    def variable(self) -> str:
        """The environment variable that raises the limit."""
        return f"THALWEG_MAX_{self.unit.upper().replace(' ', '_')}"

    @property
    def value(self) -> int:
        """The limit that the environment sets, else the default.

        Raises:
            UserError: the environment variable is not a whole number from 1 up.
        """
        given = os.environ.get(self.variable)
        if not given:
            return self.default
        if not (given.isascii() and given.isdigit() and len(given) <= 18 and int(given) > 0):
            raise UserError(f"{self.variable} = {brief(given)}: give a whole number from 1 to {10**18 - 1}")
        return int(given)

    def check(self, asked: int, what: str) -> None:
        """Raise TooMuch where ``asked`` is above the limit; ``what`` names the file and the key that ask."""
        if asked > self.value:
            raise self.refusal(asked, what)

    def refusal(self, asked: int, what: str) -> TooMuch:
        """The error, with the file and key that ask, the number, the limit and the variable that raises it."""
        told = f"{asked:,}" if digits(asked) <= 30 else f"{brief(asked)} of"
        way = f"{self.variable}={asked} allows it" if digits(asked) <= 18 else f"{self.variable} raises the limit"
        return TooMuch(f"{what}: {told} {self.unit} are more than the limit of {self.value:,}: {way}")

    def reached(self, what: str) -> TooMuch:
        """The error where counting ended at the limit."""
        return TooMuch(f"{what}: more than the limit of {self.value:,} {self.unit}: {self.variable} raises it")


TRIALS = Limit("trials", 1_000_000, "trials of a benchmark: workloads x optimizers x seeds, and those of tuning")
PAIRS = Limit("pairs", 50_000, "pairs of a workload and an optimizer: workloads x optimizers")
PARAMETERS = Limit("parameters", 1_000_000_000, "numbers that a network trains")
MODULES = Limit("modules", 50_000, "modules of a network, and parameter tensors")
POINTS = Limit("points", 5_000_000, "evaluations that one measurement of a probe asks for")
BYTES = Limit("bytes", 4_000_000_000, "bytes of a problem's data, unpacked")
PROBE_BYTES = Limit("probe bytes", 100_000_000_000, "bytes of the weight vectors that a probe holds at once")
ROWS = Limit("rows", 10_000_000, "rows of a curve, or of a probe's table, that are read")
TABLE_BYTES = Limit("table bytes", 2_000_000_000, "bytes of such a table in memory")
WEIGHT_BYTES = Limit("weight bytes", 16_000_000_000, "bytes of a file of weights that is read")
DOCUMENT_BYTES = Limit("document bytes", 200_000_000, "bytes of a JSON, YAML or text file that is imported")
LINE_BYTES = Limit("line bytes", 1_000_000, "bytes of a line of a text or CSV file that is imported")

LIMITS = (
    TRIALS,
    PAIRS,
    PARAMETERS,
    MODULES,
    POINTS,
    BYTES,
    PROBE_BYTES,
    ROWS,
    TABLE_BYTES,
    WEIGHT_BYTES,
    DOCUMENT_BYTES,
    LINE_BYTES,
)
