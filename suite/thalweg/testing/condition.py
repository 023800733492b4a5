"""A condition that components of a kind must meet, and how its test tells what it expected and what it found."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

from thalweg.registry import Registry

Test = Callable[[Registry, str], None]
"""Tests the component of a name in a registry. It raises ``NotMet`` or ``DoesNotApply``."""


class NotMet(AssertionError):  # noqa: N818 - a finding, not an error
    """A component does not meet a condition.

    Args:
        expected: what the condition expects, as a noun or a clause.
        found: what the test found instead.
        hint: what would be right, where this is known.

    >>> str(NotMet("finite weights", "3.bias is not", "divide by the norm plus eps"))
    'expected finite weights; found: 3.bias is not (divide by the norm plus eps)'
    """

    def __init__(self, expected: str, found: str, hint: str = "") -> None:
        self.expected, self.found, self.hint = expected, found, hint
        super().__init__(f"expected {expected}; found: {found}" + (f" ({hint})" if hint else ""))


class DoesNotApply(Exception):  # noqa: N818 - a finding, not an error
    """A condition says nothing about this component. The message is the reason."""


def expect(met: bool, expected: str, found: str, hint: str = "") -> None:
    """Raise ``NotMet`` unless the condition is met."""
    if not met:
        raise NotMet(expected, found, hint)


@dataclass(frozen=True)
class Condition:
    """A named condition with its test. ``condition`` makes one of a function."""

    test: Test
    finds: str
    """The faults that the test finds."""
    means: str
    """What results are worth if the condition is not met, in one sentence."""

    @property
    def name(self) -> str:
        """The name of the test's function."""
        return self.test.__name__

    @property
    def statement(self) -> str:
        """The condition as a clause: the first sentence of the test's docstring.

        >>> def adds(registry, name):
        ...     \"\"\"Two and two are ``4``. (In any base.)\"\"\"
        >>> Condition(adds, "other sums", "sums are wrong").statement
        'two and two are 4'
        """
        text = " ".join(inspect.cleandoc(self.test.__doc__ or self.name).split()).replace("``", "")
        first = re.split(r"\.(?: |$)", text, maxsplit=1)[0]
        return first[:1].lower() + first[1:]

    def __call__(self, registry: Registry, name: str) -> None:
        """Run the test."""
        self.test(registry, name)


def condition(finds: str, means: str) -> Callable[[Test], Condition]:
    """Turns a test into a condition.

    Args:
        finds: the faults that the test finds, for the table of docs/checks.md.
        means: what a failing check means for results, in one sentence.
    """
    return lambda test: Condition(test, finds, means)
