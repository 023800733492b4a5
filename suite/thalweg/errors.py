"""The one exception for a user's mistake, and the search for the name that was meant."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right: shown as one line without a traceback, exit code 2."""


class Diverged(Exception):  # noqa: N818 - a result, not an error
    """Raised by an optimizer or a problem that met nan or infinity; ends the trial as ``diverged`` with this reason."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Say that ``name`` is no ``kind``, with the nearest valid choice and all there are.

    >>> unknown("optimizer", "admn", ["sgd", "adam"])
    "no optimizer 'admn'; did you mean 'adam'? There are: adam, sgd"
    """
    names = sorted(choices)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"no {kind} {name!r}; {hint}" + (f"There are: {', '.join(names)}" if names else "there are none")
