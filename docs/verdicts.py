"""Simulates comparisons, and rewrites the tables of docs/compare.md and docs/ci.md.

Run ``python docs/verdicts.py [BLOCK ...]``: about five minutes on a core. tests/test_verdict_tables.py repeats a part.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.scoring.judge import BETTER, SAME, UNDECIDED, WORSE, Judged, decide, judge
from thalweg.scoring.rerandomised import Evidence, evidence, two_samples
from thalweg.scoring.sequential import Look, plan_looks

Array = np.ndarray[Any, Any]
Draw = np.random.Generator

HERE = Path(__file__).parent
REPETITIONS = 2000
SEEDS = (5, 10, 20)
POINT = 0.01
"""A percentage point: the margin of accuracies, and the deviation of a side over seeds."""
TENTH = math.log(1.1)
"""The margin of ratios."""


@dataclass(frozen=True)
class Scenario:
    """A kind of comparison. ``losses`` draws (repetitions, rows, seeds); the first row is the one that is worse."""

    name: str
    losses: Callable[[Draw, int, int], Array]
    margin: float = POINT
    rows: int = 1
    collapse: float = math.inf
    """A loss above is a collapse of the candidate."""

    def verdicts(self, seeds: int, repetitions: int = REPETITIONS) -> Array:
        """The verdict of each repetition."""
        draw = np.random.default_rng([sum(map(ord, self.name)), seeds])
        losses = self.losses(draw, repetitions, seeds)
        found = judge(losses, np.full(losses.shape[1], self.margin)).verdict
        collapsed = (losses > self.collapse).any(-1) & np.isfinite(losses).any(-1)
        return overall(np.where(collapsed & (found == SAME), UNDECIDED, found))


def overall(found: Array) -> Array:
    """The verdict of all rows, from those of (..., rows)."""
    there = [(found == verdict).any(-1) for verdict in (WORSE, UNDECIDED, BETTER, SAME)]
    return np.select(there, [WORSE, UNDECIDED, BETTER, SAME], np.nan)


def two(draw: Draw, shape: tuple[int, ...], side: Callable[[Draw, tuple[int, ...]], Array], loss: float = 0.0) -> Array:
    """Losses of two independent sides; in the first row the candidate loses ``loss`` more."""
    with np.errstate(invalid="ignore"):  # neither finishes: nan
        losses = side(draw, shape) - side(draw, shape)
    losses[:, 0] += loss
    return losses


def normal(draw: Draw, shape: tuple[int, ...]) -> Array:
    """A side of accuracies."""
    return draw.normal(0.0, POINT, shape)


def heavy(draw: Draw, shape: tuple[int, ...]) -> Array:
    """Student's t with 3 degrees of freedom."""
    return 0.5 * POINT * draw.standard_t(3, shape)


def cauchy(draw: Draw, shape: tuple[int, ...]) -> Array:
    """No mean."""
    return 0.3 * POINT * draw.standard_cauchy(shape)


def skewed(draw: Draw, shape: tuple[int, ...]) -> Array:
    """Exponential."""
    return POINT * draw.exponential(1.0, shape)


def adjacent(draw: Draw, shape: tuple[int, ...]) -> Array:
    """The target is met at one of two adjacent evaluations."""
    return np.log(draw.integers(4, 6, shape))


def epochs(draw: Draw, shape: tuple[int, ...]) -> Array:
    """Whole epochs to the target."""
    return np.log(np.ceil(draw.lognormal(2.5, 0.2, shape)))


def counted(share: float, examples: int) -> Callable[[Draw, tuple[int, ...]], Array]:
    """Errors among ``examples``."""
    return lambda draw, shape: draw.binomial(examples, share, shape) / examples


def at_times(side: Callable[[Draw, tuple[int, ...]], Array], share: float, value: float) -> Any:
    """A side that ends at ``value`` at a share of the seeds."""
    return lambda draw, shape: np.where(draw.random(shape) < share, value, side(draw, shape))


def one_sided(side: Callable[[Draw, tuple[int, ...]], Array], share: float, value: float, rows: int = 1) -> Any:
    """Two sides, of which the candidate ends at ``value`` at a share of the seeds."""

    def losses(draw: Draw, repetitions: int, seeds: int) -> Array:
        found = two(draw, (repetitions, rows, seeds), side)
        found[:, 0] = np.where(draw.random(found[:, 0].shape) < share, value, found[:, 0])
        return found

    return losses


def simple(side: Any, rows: int = 1, loss: float = 0.0) -> Any:
    """Two sides of one kind."""
    return lambda draw, repetitions, seeds: two(draw, (repetitions, rows, seeds), side, loss)


def missing(loss: float) -> Any:
    """A third of the seeds is on one side alone."""

    def losses(draw: Draw, repetitions: int, seeds: int) -> Array:
        found = two(draw, (repetitions, 1, seeds), normal, loss)
        found[..., : seeds // 3] = math.nan
        return found

    return losses


def shared(loss: float) -> Any:
    """A seed shifts both sides by about five points."""

    def losses(draw: Draw, repetitions: int, seeds: int) -> Array:
        common = draw.normal(0.0, 5 * POINT, (repetitions, 1, seeds))
        return (draw.normal(0.0, POINT, common.shape) + common + loss) - (
            draw.normal(0.0, POINT, common.shape) + common
        )

    return losses


def rounding(loss: float) -> Any:
    """Batched against alone: rounding alone, which changes an example of 360 at one seed in ten."""

    def losses(draw: Draw, repetitions: int, seeds: int) -> Array:
        flips = draw.choice([-1, 1], (repetitions, 1, seeds)) * (draw.random((repetitions, 1, seeds)) < 0.1)
        return flips / 360 + loss

    return losses


def noisier(draw: Draw, repetitions: int, seeds: int) -> Array:
    """The candidate deviates three times as much."""
    return draw.normal(0.0, 3 * POINT, (repetitions, 1, seeds)) - draw.normal(0.0, POINT, (repetitions, 1, seeds))


def timed(loss: float) -> Any:
    """Blocks of alternated steps: 3% of noise, and other work that slows a quarter of the half blocks by a half."""

    def losses(draw: Draw, repetitions: int, seeds: int) -> Array:
        shape = (repetitions, 1, seeds)

        def side() -> Array:
            return draw.normal(0.0, 0.03, shape) + np.where(draw.random(shape) < 0.25, math.log(1.5), 0.0)

        return side() - side() + loss

    return losses


def zero_at(share: float, factor: float, both: bool) -> Any:
    """Losses of a factor, of which a share is exactly 0, that is 1e-45 on the log scale."""

    def losses(draw: Draw, repetitions: int, seeds: int) -> Array:
        shape = (repetitions, 1, seeds)

        def side(zeros: bool) -> Array:
            values = draw.normal(math.log(0.1), 0.05, shape)
            return np.where(zeros & (draw.random(shape) < share), math.log(1e-45), values)

        return (side(True) + math.log(factor)) - side(both)

    return losses


TWICE = 2 * POINT
NO_OPS = (
    Scenario("accuracy, 1 row", simple(normal)),
    Scenario("accuracy, 4 rows", simple(normal, 4)),
    Scenario("accuracy, 20 rows", simple(normal, 20)),
    Scenario("heavy tails (t with 3 degrees of freedom)", simple(heavy)),
    Scenario("heavy tails, 4 rows", simple(heavy, 4)),
    Scenario("no mean (Cauchy)", simple(cauchy)),
    Scenario("skewed values (exponential), 4 rows", simple(skewed, 4)),
    Scenario("ceiling: 1% of 360 examples wrong", simple(counted(0.01, 360)), 2 / 360),
    Scenario("ceiling: 0.1% of 10,000 wrong, 4 rows", simple(counted(0.001, 10_000), 4), 0.0005),
    Scenario("both sides collapse at 10% of seeds", simple(at_times(normal, 0.1, 0.8)), collapse=0.3),
    Scenario("both sides collapse at 30%, 4 rows", simple(at_times(normal, 0.3, 0.8), 4), collapse=0.3),
    Scenario("steps: one of two evaluations", simple(adjacent), TENTH),
    Scenario("steps: one of two evaluations, 20 rows", simple(adjacent, 20), TENTH),
    Scenario("steps: whole epochs, 4 rows", simple(epochs, 4), TENTH),
    Scenario("targets missed by chance at 30%", simple(at_times(epochs, 0.3, math.inf)), TENTH),
    Scenario("targets missed by chance at 10%, 20 rows", simple(at_times(epochs, 0.1, math.inf), 20), TENTH),
    Scenario("losses of exactly 0 at 10%", zero_at(0.1, 1.0, True), TENTH),
    Scenario("both sides diverge at 10%", simple(at_times(normal, 0.1, math.inf))),
    Scenario("both sides diverge at 30%, 4 rows", simple(at_times(normal, 0.3, math.inf), 4)),
    Scenario("a third of the seeds on one side alone", missing(0.0)),
    Scenario("seeds shift both sides by 5 points", shared(0.0)),
    Scenario("the candidate deviates three times as much", noisier),
    Scenario("batched against alone", rounding(0.0)),
    Scenario("time of a step, a busy machine", timed(0.0), TENTH),
)
REGRESSIONS = (
    Scenario("accuracy -2 points", simple(normal, 1, TWICE)),
    Scenario("accuracy -2 points in 1 of 4 rows", simple(normal, 4, TWICE)),
    Scenario("accuracy -3 points in 1 of 20 rows", simple(normal, 20, 3 * POINT)),
    Scenario("heavy tails, -2 points", simple(heavy, 1, TWICE)),
    Scenario("skewed values, -2 points", simple(skewed, 1, TWICE)),
    Scenario(
        "ceiling: 0.1% to 0.2% of 10,000 wrong",
        lambda draw, n, seeds: (
            counted(0.002, 10_000)(draw, (n, 1, seeds)) - counted(0.001, 10_000)(draw, (n, 1, seeds))
        ),
        0.0005,
    ),
    Scenario("collapse at 40% of seeds", one_sided(normal, 0.4, 0.35), collapse=0.3),
    Scenario("collapse at 40% in 1 of 4 rows", one_sided(normal, 0.4, 0.35, 4), collapse=0.3),
    Scenario("steps +21%, whole epochs", simple(epochs, 1, 2 * TENTH), TENTH),
    Scenario(
        "steps: always one evaluation later", lambda draw, n, seeds: np.full((n, 1, seeds), math.log(5 / 4)), TENTH
    ),
    Scenario("target missed at 40% of seeds", one_sided(epochs, 0.4, math.inf), TENTH),
    Scenario("target missed at every seed", one_sided(epochs, 1.0, math.inf), TENTH),
    Scenario("loss 1000 times, exactly 0 at 10%", zero_at(0.1, 1000.0, False), TENTH),
    Scenario("divergence at 40% of seeds", one_sided(normal, 0.4, math.inf)),
    Scenario("a third of the seeds missing, -2 points", missing(TWICE)),
    Scenario("seeds shift both sides, -2 points", shared(TWICE)),
    Scenario("batched against alone, -2 points", rounding(TWICE)),
    Scenario("time of a step +21%, a busy machine", timed(2 * TENTH), TENTH),
)
AT_MARGIN = (
    Scenario("accuracy -1 point", simple(normal, 1, POINT)),
    Scenario(
        "left-skewed losses with their mean at the margin, 4 rows",
        lambda draw, n, seeds: 2 * POINT - POINT * draw.exponential(1.0, (n, 4, seeds)),
    ),
    Scenario(
        "right-skewed losses with their mean at the margin, 4 rows",
        lambda draw, n, seeds: POINT * draw.exponential(1.0, (n, 4, seeds)),
    ),
)


def rates(found: Array) -> str:
    """The shares of better, same, worse and undecided, in percent."""
    return " / ".join(f"{100 * float((found == verdict).mean()):.0f}" for verdict in (BETTER, SAME, WORSE, UNDECIDED))


def scenario_row(scenario: Scenario, seeds: Sequence[int] = SEEDS) -> list[str]:
    """The cells of a scenario."""
    return [scenario.name, *(rates(scenario.verdicts(n)) for n in seeds)]


def scenario_table() -> str:
    """The rates of all scenarios."""
    parts = []
    for title, scenarios in (("no-op", NO_OPS), ("regression", REGRESSIONS), ("exactly the margin", AT_MARGIN)):
        heading = [f"{title}: better / same / worse / undecided in %", *(f"{n} seeds" for n in SEEDS)]
        parts.append(table(heading, [scenario_row(scenario) for scenario in scenarios]))
    return "\n\n".join(parts)


POWER_ROWS, POWER_SEEDS = (1, 4, 20), (5, 6, 8, 10, 15, 20, 30)


def power(rows: int, seeds: int, loss: float, repetitions: int = 1000) -> Array:
    """Verdicts (repetitions, rows) of accuracies, of which the first row loses ``loss``."""
    draw = np.random.default_rng([rows, seeds, round(1000 * loss)])
    return judge(two(draw, (repetitions, rows, seeds), normal, loss), np.full(rows, POINT)).verdict


def power_row(rows: int, seeds: Sequence[int] = POWER_SEEDS) -> list[str]:
    """How often a loss of three points is found."""
    return [str(rows), *(f"{100 * float((power(rows, n, 3 * POINT)[:, 0] == WORSE).mean()):.0f}%" for n in seeds)]


def no_op_row(rows: int, seeds: Sequence[int] = POWER_SEEDS) -> list[str]:
    """How often a no-op ends undecided."""
    return [str(rows), *(f"{100 * float((overall(power(rows, n, 0.0)) == UNDECIDED).mean()):.0f}%" for n in seeds)]


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def unpaired_rates(loss: float, seeds: int, repetitions: int = 300) -> Array:
    """Verdicts of two independent samples."""
    draw = np.random.default_rng([seeds, round(1000 * loss)])
    before, after = draw.normal(0.0, POINT, (2, repetitions, seeds))
    found = [evidence(two_samples(b, a + loss), np.array([POINT])) for b, a in zip(before, after, strict=True)]
    joined: Judged = decide(Evidence(*(np.stack(each) for each in zip(*found, strict=True))))
    return joined.verdict[:, 0]


def unpaired_table() -> str:
    """Rates of two independent samples."""
    rows = [
        [name, *(rates(unpaired_rates(loss, n)) for n in SEEDS)]
        for name, loss in (("no-op", 0.0), ("accuracy -2 points", TWICE), ("accuracy -3 points", 3 * POINT))
    ]
    return table(["unpaired, 1 row", *(f"{n} seeds on each side" for n in SEEDS)], rows)


@dataclass
class Gated:
    """How simulated gates ended."""

    verdict: Array
    """Of all rows."""
    worse: Array
    """Whether the first row was called worse."""
    seeds: Array


def gate(rows: int, cap: int, loss: float, repetitions: int = 1000, looks: Sequence[Look] | None = None) -> Gated:
    """Simulate ``thalweg gate``: accuracies, of which the first row loses ``loss``."""
    draw = np.random.default_rng([rows, cap, round(1000 * loss)])
    losses = two(draw, (repetitions, rows, cap), normal, loss)
    found = np.full((repetitions, rows), float(UNDECIDED))
    seeds, open_ = np.full(repetitions, cap), np.ones(repetitions, dtype=bool)
    for look in looks or plan_looks(rows, cap):
        here = np.flatnonzero(open_)
        now = judge(losses[here, :, : look.seeds], np.full(rows, POINT), levels=look.levels).verdict
        found[here] = np.where(found[here] == UNDECIDED, now, found[here])
        ends = here[(found[here] == WORSE).any(-1) | (found[here] != UNDECIDED).all(-1)]
        seeds[ends], open_[ends] = look.seeds, False
    return Gated(overall(found), found[:, 0] == WORSE, seeds)


def fixed_design(rows: int, wanted: float) -> int:
    """The fewest seeds at which one comparison finds a loss of three points with the wanted probability."""
    return next(n for n in range(5, 100) if (power(rows, n, 3 * POINT, 2000)[:, 0] == WORSE).mean() >= wanted)


CAP = 40
GATE_ROWS = (1, 4, 20)


def gate_table() -> str:
    """What the gate finds, and how many seeds it takes."""
    rows = []
    for count in GATE_ROWS:
        none, loss = gate(count, CAP, 0.0), gate(count, CAP, 3 * POINT)
        found = float(loss.worse.mean())
        rows.append([
            str(count),
            ", ".join(str(look.seeds) for look in plan_looks(count, CAP)),
            f"{100 * float((none.verdict == WORSE).mean()):.1f}%",
            f"{100 * float((none.verdict == UNDECIDED).mean()):.0f}%",
            f"{none.seeds.mean():.1f}",
            f"{100 * found:.1f}%",
            f"{loss.seeds.mean():.1f}",
            str(fixed_design(count, min(found, 0.999))),
            str(fixed_design(count, 0.95)),
        ])  # fmt: skip
    heading = [
        "rows", "looks at seeds", "no-op: worse", "no-op: undecided", "no-op: seeds", "3 points: worse",
        "3 points: seeds", "one comparison of equal power: seeds", "one comparison of 95%: seeds",
    ]  # fmt: skip
    return table(heading, rows)


def unseen_table() -> str:
    """How often a failure at a share q of the seeds does not occur at all: (1 - q)^n."""
    rows = [
        [f"{100 * q:.0f}%", *(f"{100 * (1 - q) ** n:.1f}%" for n in (5, 10, 20, 40))] for q in (0.05, 0.1, 0.2, 0.4)
    ]
    return table(["fails at", "5 seeds", "10 seeds", "20 seeds", "40 seeds"], rows)


BLOCKS: dict[str, tuple[str, Callable[[], str]]] = {
    "power": (
        "compare.md",
        lambda: table(["rows", *(f"{n} seeds" for n in POWER_SEEDS)], [power_row(rows) for rows in POWER_ROWS]),
    ),
    "no-ops": (
        "compare.md",
        lambda: table(["rows", *(f"{n} seeds" for n in POWER_SEEDS)], [no_op_row(rows) for rows in POWER_ROWS]),
    ),
    "scenarios": ("compare.md", scenario_table),
    "unpaired": ("compare.md", unpaired_table),
    "unseen": ("compare.md", unseen_table),
    "gate": ("ci.md", gate_table),
}


def _found(name: str) -> re.Match[str]:
    page = (HERE / BLOCKS[name][0]).read_text(encoding="utf-8")
    found = re.search(rf"(?<=<!-- {name}: python docs/verdicts.py -->\n\n)(.*?)(?=\n\n<!-- end -->)", page, re.DOTALL)
    if found is None:
        raise ValueError(f"{BLOCKS[name][0]} has no block {name!r}")
    return found


def block(name: str) -> str:
    """A block as it stands in its page.

    Raises:
        ValueError: the page has no such block.
    """
    return _found(name)[1]


def main(names: Sequence[str]) -> None:
    """Rewrite the named blocks, by default every block."""
    for name in names or BLOCKS:
        made, found = BLOCKS[name][1](), _found(name)
        (HERE / BLOCKS[name][0]).write_text(
            found.string[: found.start()] + made + found.string[found.end() :], encoding="utf-8"
        )
        print(name)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
