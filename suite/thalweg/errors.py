"""The one exception for a user's mistake, and the search for the name that was meant."""

import difflib
from bisect import bisect_left
from collections.abc import Iterable

from thalweg.shown import LONGEST_VALUE, brief, cut

LONGEST = 2000
"""The largest number of characters in an error's line."""

CHOICES = 36
"""The largest number of valid choices that an error lists."""

_COMPARED = 1000
"""The largest number of valid choices that are compared with a wrong name."""


class UserError(Exception):
    """A mistake that the user can correct. The command line shows one line without a traceback, and exits with 2."""


class NothingThere(UserError):  # noqa: N818 - a finding, not an error
    """There is nothing to rank, check or compare. The command line exits with 3."""


class Diverged(Exception):  # noqa: N818 - a result, not an error
    """Raised by an optimizer or a problem that met nan or infinity; ends the trial as ``diverged`` with this reason."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """The message that ``name`` is no ``kind``, with the nearest valid choice and all choices, or the nearest of many.

    >>> unknown("optimizer", "admn", ["sgd", "adam"])
    "no optimizer 'admn'; did you mean 'adam'? There are: adam, sgd"
    """
    names = sorted(choices)
    wanted = name[: LONGEST_VALUE + 1]
    place = max(0, bisect_left(names, name) - _COMPARED // 2)
    near = difflib.get_close_matches(wanted, [cut(one) for one in names[place : place + _COMPARED]], CHOICES, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = [cut(one) for one in names]
    if len(names) > CHOICES:
        first = list(dict.fromkeys([*near, *(cut(one) for one in names[:CHOICES])]))[:CHOICES]
        listed = [*first, f"… and {len(names) - len(first):,} more"]
    return f"no {kind} {brief(name)}; {hint}" + (
        f"{'There' if near else 'there'} are: {', '.join(listed)}" if names else "there are none"
    )
