"""The exit codes of the command line."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; other programs rely on these numbers."""

    DONE = 0
    FAILED = 1
    MISTAKE = 2
    NOTHING = 3
    UNDECIDED = 4
    INTERRUPTED = 130
    """128 + 2, which a shell gives for a program that SIGINT (2) ended."""

    @property
    def meaning(self) -> str:
        """The meaning of the code for users.

        >>> ExitCode.INTERRUPTED.meaning
        'interrupted'
        """
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done, better or the same",
    ExitCode.FAILED: "worse, or some trials or a check failed",
    ExitCode.MISTAKE: "a mistake in the command or in a file",
    ExitCode.NOTHING: "nothing was there to rank, check or compare",
    ExitCode.UNDECIDED: "undecided: the seeds are too few to tell",
    ExitCode.INTERRUPTED: "interrupted",
}
