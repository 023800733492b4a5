"""The command line. Each command imports its code when it runs: ``thalweg --help`` must not wait for torch."""

from __future__ import annotations

import errno
import functools
import io
import sys
from typing import Annotated, Any, NoReturn

import typer

from thalweg import __version__
from thalweg.allocator import set_allocator
from thalweg.cli import claims, components, look, plugin, results, run, scores
from thalweg.cli.unread import Unread
from thalweg.errors import LONGEST, NothingThere, UserError
from thalweg.exit_codes import ExitCode
from thalweg.runner.exits import exits_are_failures
from thalweg.shown import cut, shown

app = typer.Typer(
    name="thalweg",
    help="Benchmark optimizers of deep networks, and look at their loss landscapes.",
    epilog="Exit codes: " + "; ".join(f"{code.value} {code.meaning}" for code in ExitCode) + ".",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@functools.cache
def command() -> Any:
    """The command line as click takes it. typer would make it anew in each call, of the signatures of all commands."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line; a user's mistake ends it with one line on standard error and ``ExitCode.MISTAKE``."""
    out = None
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        # a command does its work and gives its verdict also where nobody reads to the end
        out, at_once = Unread(sys.stdout.fileno()), sys.stdout.line_buffering or sys.stdout.write_through
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(out), sys.stdout.encoding, line_buffering=at_once)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows a question mark
    try:
        set_allocator()
        # without standalone mode click returns the exit code of typer.Exit
        with exits_are_failures():
            code = _done()
        if out is not None:
            sys.stdout.flush()
            if out.failure is not None:
                _mistake(f"standard output: {out.failure.strerror}", ExitCode.FAILED)
        sys.exit(code if isinstance(code, int) else ExitCode.DONE)
    except UserError as error:
        _mistake(str(error), ExitCode.NOTHING if isinstance(error, NothingThere) else ExitCode.MISTAKE)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _mistake(f"{cut(str(error.filename))}: {error.strerror}")
    except Exception as error:
        _usage_error(error)


def _done() -> Any:
    """What the command gives."""
    try:
        return command()(standalone_mode=False)
    except SystemExit as error:  # no command of ours raises it
        _mistake(f"a component ended the command with sys.exit({error.code!r})", ExitCode.FAILED)


def _mistake(text: str, code: ExitCode = ExitCode.MISTAKE) -> NoReturn:
    """Print the error in one line, of at most ``LONGEST`` characters."""
    typer.echo(cut(f"error: {shown(text)}", LONGEST), err=True)
    sys.exit(code)


def _usage_error(error: Exception) -> None:
    """Print an error of click's about usage; any other error is a bug and keeps its traceback."""
    show = getattr(error, "show", None)
    if show is None:
        raise error
    if isinstance(said := getattr(error, "message", None), str):
        error.message = cut(shown(said), LONGEST)  # type: ignore[attr-defined]
    show()
    sys.exit(getattr(error, "exit_code", ExitCode.MISTAKE))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thalweg {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version.")] = False,
) -> None:
    """Benchmark optimizers of deep networks, and look at their loss landscapes."""


app.command()(run.run)
app.command()(scores.probe)
app.command()(look.look)
app.command(name="list")(components.list_)
app.command()(components.show)
app.command()(scores.leaderboard)
app.command()(scores.compare)
app.command()(scores.gate)
app.command()(scores.time)
app.command()(scores.tuning)
app.command()(scores.track)
app.command()(scores.report)
app.command()(components.plugins)
app.command()(components.doctor)
app.command()(scores.app)
app.add_typer(plugin.app, name="plugin")
app.add_typer(claims.app, name="claims")
app.add_typer(results.app, name="results")
