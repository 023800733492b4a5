"""Runs a benchmark to its end, even if some of its trials are known only after others are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from thalweg.hooks import call_hook
from thalweg.outcome import RunReport
from thalweg.plan import Plan
from thalweg.registry import Registry
from thalweg.tuning.plan import Later, TunedPlan


def run_to_the_end(
    plan: TunedPlan,
    plan_now: Callable[[], TunedPlan],
    run: Callable[[Plan], RunReport],
    registry: Registry,
    say: Callable[[str], None],
) -> tuple[TunedPlan, RunReport]:
    """Train the planned trials, plan again with their results, and repeat until nothing new is planned.

    Args:
        plan: the plan at the beginning.
        plan_now: gives the plan that follows from the trials on disk now.
        run: trains the trials of a plan.
        registry: the registry whose plugins get the hook at the end.
        say: shows a line to the user.

    Returns:
        The whole plan, and one report on all its trials.
    """
    asked: set[str] = set()
    whole: RunReport | None = None
    while True:
        trials, tuning = (
            [each for each in some if each.trial.hash not in asked] for some in (plan.trials, plan.tuning)
        )
        if whole is not None and not trials and not tuning:
            break
        if plan.outcomes:
            say(_stage(plan, len(tuning)))
        asked |= {planned.trial.hash for planned in (*trials, *tuning)}
        report = run(replace(plan, trials=trials, tuning=tuning))
        whole = report if whole is None else added(whole, report)
        if report.outcome != "complete" or report.errors or not plan.outcomes:
            break
        plan = plan_now()
    assert whole is not None
    call_hook(registry, "thalweg_run_finished", whole.errors, run=whole)
    return plan, whole


def _stage(plan: TunedPlan, tuning: int) -> str:
    if plan.settled:
        return "the best settings, with the seeds that count"
    then = f". {following(plan.later)}; a time left is that of this stage"
    if plan.extended:
        named = ", ".join(f"{workload} · {optimizer}" for workload, optimizer in plan.extended)
        return f"the best setting is at an end of its range, which is extended: {named}{then}"
    return f"{tuning} trials for tuning{then}"


def following(later: Later) -> str:
    """The trials that follow those of a plan that tunes, as a sentence without its full stop.

    >>> following(Later(0, 10, 6))
    'Then come up to 6 trials where a best setting is at an end, and up to 10 trials with the seeds that count'
    """
    counts = [
        (later.search, "of further seeds of settings that are not hopeless"),
        (later.extension, "where a best setting is at an end"),
        (later.final, "with the seeds that count"),
    ]
    return f"Then come {', and '.join(f'up to {count} trials {what}' for count, what in counts if count)}"


def added(one: RunReport, other: RunReport) -> RunReport:
    """One report on two runs."""
    return replace(
        other,
        total=one.total + other.total,
        seconds=one.seconds + other.seconds,
        cached=one.cached + other.cached,
        trained=one.trained + other.trained,
        errors=one.errors | other.errors,
    )
