"""What ``thalweg plugin check`` tells of a plugin's checks: a document for JSON, and rows for a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from thalweg.registry import PluginRecord
from thalweg.shown import cut
from thalweg.testing.apart import Result
from thalweg.testing.kit import read_more

BAD = ("failed", "timed out", "died")
"""The outcomes of a check that a component does not pass."""


def document(plugin: PluginRecord, results: Sequence[Result], timeout: float) -> dict[str, Any]:
    """The plugin, the number of checks by outcome, and each check."""
    return {
        "plugin": {"name": plugin.name, "version": plugin.version, "origin": plugin.origin},
        "timeout": timeout,
        "counts": counts(results),
        "checks": [_check(result) for result in results],
    }


def counts(results: Sequence[Result]) -> dict[str, int]:
    """The number of checks by outcome; the usual outcomes are named though their number is zero."""
    return {"passed": 0, "failed": 0, "skipped": 0, **Counter(result.outcome.status for result in results)}


def _check(result: Result) -> dict[str, Any]:
    check, outcome = result.check, result.outcome
    return {
        "component": check.name,
        "kind": check.kind[:-1],
        "check": check.condition.name,
        "status": outcome.status,
        "expected": outcome.expected,
        "found": outcome.found,
        "hint": outcome.hint,
        "means": _means(result),
        "read": read_more(check.kind),
        "seconds": round(outcome.seconds, 3),
        "output": result.output,
    }


def rows(results: Sequence[Result]) -> list[list[str]]:
    """Component, check, outcome, and what was expected and found. A name stands in the first row of its component."""
    found, last = [], ""
    for result in results:
        check = result.check
        component = f"{check.kind[:-1]} {check.name}"
        found.append(
            ["" if component == last else component, check.condition.name, result.outcome.status, _told(result)]
        )
        last = component
    return found


def _told(result: Result) -> str:
    """Nothing of a check that passed; the reason of a skipped one; several lines of a failed one."""
    check, outcome = result.check, result.outcome
    if outcome.status not in BAD:
        return outcome.found
    said = [f"expected {outcome.expected}", f"found: {outcome.found}"]
    if outcome.hint:
        said.append(f"to do: {outcome.hint}")
    if outcome.status == "died" and (last := _last_words(result.output)):
        said.append(f"its last words: {last}")
    return "\n".join([*said, f"this means: {_means(result)}", f"read: {read_more(check.kind)}"])


def _means(result: Result) -> str:
    """What a failing check means for results; of a check without an end, that this is not known."""
    if result.outcome.ended:
        return result.check.condition.means
    return "whether the component meets the check is not known, since the check did not come to its end"


def _last_words(output: str) -> str:
    """The line in which Python says why it ends, or the last line that was printed."""
    printed = [line for line in output.splitlines() if line.strip()]
    fatal = [line for line in printed if line.startswith("Fatal Python error")]
    return cut((fatal or printed or [""])[-1])
