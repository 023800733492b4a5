"""Sentences about results, and single facts as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.plan import Workload
from thalweg.scoring.measures import STABILITY, where_read
from thalweg.shown import markdown
from thalweg.store.documents import TrialDocument


def plain(text: str) -> str:
    r"""A text of results for a page, which reads Markdown: marks of links, pictures, emphasis and formulas are escaped.

    >>> print(plain("__init__ costs $1"))
    \_\_init\_\_ costs \$1
    """
    escaped = markdown(text).replace("$", "\\$").replace("_", "\\_")
    # Streamlit draws a name between colons as a symbol; a joiner without width keeps it text
    return _SYMBOL.sub(":\u2060", escaped)


_SYMBOL = re.compile(r":(?=[A-Za-z0-9+\\_/-]+:)")
"""The first colon of what may be a symbol, such as ``:smile:``."""


def described(text: str) -> str:
    """A component's description for a page: text, with the code that double backticks mark.

    >>> described("Where ``lr`` is w_k")
    'Where `lr` is w\\\\_k'
    """
    parts = text.split("``")
    return "".join(f"`{part}`" if number % 2 and part else plain_lines(part) for number, part in enumerate(parts))


def plain_lines(text: str) -> str:
    """A text of several lines or paragraphs, each as ``plain`` writes it."""
    return "\n".join(map(plain, text.split("\n")))


FEW = 20
"""Things that a warning names, at most."""


def few(lines: Sequence[str], most: int = FEW) -> list[str]:
    """The first lines, and how many more there are.

    >>> few(["a", "b", "c"], 2)
    ['a', 'b', 'and 1 more']
    """
    more = len(lines) - most
    return [*lines[:most], *([f"and {more:,} more"] if more > 0 else [])]


def ranking(workload: Workload) -> str:
    """The workload's metric, the split and the step where it is read, and which direction is better."""
    if workload.split == "test":
        selects = workload.target_split == "valid" and (workload.known is None or workload.selects)
        where = f"on the test split, {'at the step that validation selects' if selects else 'at the end of training'}"
    else:
        where = f"on the {'validation' if workload.split == 'valid' else 'training'} split, at the end of training"
    return f"{workload.metric.name} {where}; {workload.metric.better} is better"


COSTS = {
    "steps_to_target": "steps to the target",
    "gradient_evaluations_to_target": "gradient evaluations to the target",
    "work_to_target": "work to the target: all evaluations, in gradients of one example",
    "curvature_products_to_target": "products with a Hessian, GGN or Fisher matrix to the target",
    "factor_inversions_to_target": "matrices inverted or decomposed to the target",
    "seconds_to_target": "seconds to the target: steps times the seconds of a step, which were timed by themselves",
    "state_bytes": "the memory of the optimizer's state at the end, in bytes",
}
"""Each cost in words."""


def ranked_by(workload: Workload, metric: Metric) -> str:
    """One sentence on the metric that ranks a workload's leaderboard, and on the target."""
    if metric is workload.metric:
        what = ranking(workload)
    else:
        name = metric.name.replace("_", " ")
        what = COSTS.get(metric.name) or f"{name} ({where_read(workload, metric)})"
        what = f"{what}; {metric.better} is better"
    goal = aim(workload)
    return f"Ranked by {what}; {goal}." if goal else f"Ranked by {what}."


OPEN_RANKS = "the ranks that the seeds leave open; all ranks of a table hold at once with a probability of 95%"
"""What a rank interval is."""


def interval_caption(metric: Metric) -> str:
    """The caption of the chart below a leaderboard: what its points and bars are."""
    if metric.name == STABILITY.name:
        return "The share of all trials, with Clopper and Pearson's 95% interval; trials that diverged or failed count."
    return f"{mean_of(metric.scale == 'log')} over the seeds that finished, with a 95% t-interval."


def band_caption(log: bool) -> str:
    """The caption of learning curves with bands."""
    return f"{mean_of(log)} over seeds; the band runs from the smallest to the largest value."


def marks_caption() -> str:
    """What the marks on learning curves are."""
    return (
        "A cross is the last evaluation of a trial that diverged, a circle the evaluation that validation selects, and "
        "a triangle at the foot of a log axis the first value of exactly zero, which has no logarithm."
    )


SECONDS_CAPTION = (
    "Seconds are training alone, without evaluations and probes. The machine may have done other work at the time, so "
    "they are no benchmark of speed."
)
"""The caption of curves against seconds."""


def mean_of(log: bool) -> str:
    """The name of the mean on a linear or a log scale."""
    return "Geometric mean" if log else "Mean"


def aim(workload: Workload) -> str:
    """The target in words; empty for a workload without a target."""
    target = workload.target
    if target is None or workload.target_metric is None:
        return ""
    split = {"valid": "validation", "train": "training"}[workload.target_split]
    relation = "at least" if workload.target_metric.better == "higher" else "at most"
    return f"target: {split} {target.metric} of {relation} {target_value(target, workload.target_metric)}"


def target_value(target: Target, metric: Metric) -> str:
    """The target's value with its unit."""
    return f"{100 * target.value:g}%" if metric.unit == "%" else f"{target.value:g}"


def unfinished(number: int, benchmark: str) -> str:
    """What unfinished trials mean, and how they go on.

    >>> unfinished(1, "quick")
    "1 trial is unfinished, because its run was interrupted, and counts for nobody: 'thalweg run quick' goes on."
    """
    verb, whose, counts = ("is", "its", "counts") if number == 1 else ("are", "their", "count")
    why = f"because {whose} run was interrupted, and {counts} for nobody"
    return f"{count(number, 'trial')} {verb} unfinished, {why}: 'thalweg run {benchmark}' goes on."


NOT_KNOWN = (
    "the order of the data",
    "whether budgets were equal",
    "whether the test split chose anything",
    "what tuning cost",
    "the machine",
)
"""What an import cannot know."""


def not_known() -> str:
    """What nobody here knows of imported runs."""
    return f"not known are {', '.join(NOT_KNOWN[:-1])} and {NOT_KNOWN[-1]}"


def several_gradients(found: Mapping[str, float]) -> str:
    """Which optimizers take several gradients a step.

    >>> several_gradients({"sam": 2.0, "lbfgs": 21.31})
    'Gradients and curvature products in a step, by one trial: sam 2, lbfgs 21.3. Work to the target counts them all.'
    """
    told = ", ".join(f"{name} {number:.3g}" for name, number in found.items())
    return f"Gradients and curvature products in a step, by one trial: {told}. Work to the target counts them all."


def count(n: int, one: str, many: str = "") -> str:
    """``"1 trial"``, ``"3 trials"``."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def capital(sentence: str) -> str:
    """The sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


def cell(value: Any) -> str:
    """A setting or a fact as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return "–" if value is None else str(value)


def title(document: TrialDocument, label: str) -> str:
    """The title of a trial, with the label that the view gives its optimizer."""
    return title_of(document.workload, label, document.trial.seed)


def title_of(workload: str, label: str, seed: int) -> str:
    """The title of a trial: ``"digits-mlp · adam · seed 0"``, as ``palette.trial_styles`` reads it."""
    return f"{workload} · {label} · seed {seed}"
