"""The experiments of a claim, checked: a plugin's mistake becomes one line."""

from __future__ import annotations

from collections.abc import Mapping

from thalweg.contracts.claim import Experiment
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.registry import Entry


def needs_of(entry: Entry, tier: str) -> tuple[Experiment, ...]:
    """What ``Claim.needs`` returns.

    Raises:
        UserError: it raises an exception, or returns something else than experiments.
    """
    try:
        found = tuple(entry.component.needs(tier))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"claim {entry.name}: needs: {Failure.of(error).line}") from error
    for one in found:
        if not isinstance(one, Experiment) or not isinstance(one.content, Mapping) or not isinstance(one.name, str):
            raise UserError(f"claim {entry.name}: needs must return experiments, each with a table as its content")
    return found
