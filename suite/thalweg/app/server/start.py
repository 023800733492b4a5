"""Streamlit's command line, ending as thalweg's does when it is interrupted: ``python -m thalweg.app.server.start``."""

from __future__ import annotations

import sys

import click
from streamlit.web.cli import main

from thalweg.allocator import set_server_allocator
from thalweg.exit_codes import ExitCode


def start() -> None:
    """Run Streamlit's command line; ``INTERRUPTED`` after Ctrl-C."""
    set_server_allocator()
    try:
        main(standalone_mode=False)
    except click.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    start()
