"""``thalweg plugin check``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from thalweg.commands.progress import Measuring
from thalweg.console import console, lines, print_json, print_table
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.present import checks
from thalweg.testing.apart import run_apart
from thalweg.testing.asked import asked


def check_command(target: str, only: Sequence[str], timeout: float, jobs: int, as_json: bool) -> ExitCode:
    """Run the conformance kit over one plugin and print a table; ``FAILED`` if a check failed."""
    if not 0 < timeout < math.inf:
        raise UserError(f"--timeout {timeout:g}: give a number of seconds above zero")
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: give a whole number from 1 up")
    wanted = asked(target, only)
    results = []
    with Measuring(f"checks of {wanted.plugin.name}") as progress:
        for result in run_apart(wanted, timeout, jobs):
            results.append(result)
            progress(len(results), len(wanted.checks))
    counts = checks.counts(results)
    code = ExitCode.FAILED if any(counts.get(status) for status in checks.BAD) else ExitCode.DONE
    if as_json:
        print_json(checks.document(wanted.plugin, results, timeout))
        return code
    version = "" if wanted.plugin.version == "file" else f" {wanted.plugin.version}"
    title = f"checks of plugin {wanted.plugin.name}{version}, each in at most {timeout:g} s"
    cells = [[component, check, status, lines(told)] for component, check, status, told in checks.rows(results)]
    print_table(title, ["component", "check", "outcome", "what was expected and found"], cells)
    console().print()
    console().print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return code
