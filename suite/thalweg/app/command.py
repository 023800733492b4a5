"""``thalweg app``."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.registry import load_registry
from thalweg.store.roots import LOCAL, own_root, results_root

_FLAGS = (
    "--browser.gatherUsageStats=false",
    "--server.headless=true",
    "--server.address=127.0.0.1",
    "--client.toolbarMode=minimal",
    # red, Streamlit's own, reads as an error; a colour for both themes would switch the dark one off
    "--theme.light.primaryColor=#0072B2",
    "--theme.dark.primaryColor=#56B4E9",
    # Streamlit would print an address without the token
    "--logger.hideWelcomeMessage=true",
)

_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True)
class AppOptions:
    """What ``thalweg app`` is asked for."""

    results: Path | None
    """The folder to show first."""
    port: int
    """Where to listen, on this machine's loopback address only."""
    plugin_files: tuple[Path, ...] = ()
    with_token: bool = True
    """Whether to ask for the token in the printed address: ``$THALWEG_APP_TOKEN``, or a new one."""
    hosts: tuple[str, ...] = ()
    """Names besides localhost that the app's address may have."""
    read_only: bool | None = None
    """Whether visitors may only look; None: where the address may have another name than localhost."""


def app_command(options: AppOptions) -> int:
    """Run Streamlit with the app until it is interrupted; the exit code of Streamlit."""
    if importlib.util.find_spec("streamlit") is None:
        raise UserError("the app needs streamlit: pip install 'thalweg[app]'")
    for name in options.hosts:
        if not _NAME.fullmatch(name):
            raise UserError(f"--allow-host {name!r}: a name as results.example.org, without http:// and port")
    load_registry(options.plugin_files)  # so that a missing plugin file is an error here and not in the browser
    _check_port(options.port)
    script = Path(__file__).resolve().parent / "server" / "served.py"
    environment = {
        # Arrow's other pools keep much of what they have freed
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        **os.environ,
        "THALWEG_RESULTS": str(results_root(options.results).absolute()),
        LOCAL: str(own_root().absolute()),
        "THALWEG_PLUGIN_FILES": os.pathsep.join(str(path.absolute()) for path in options.plugin_files),
        # in the environment, since every user can see the command line
        "THALWEG_APP_TOKEN": _token() if options.with_token else "",
        "THALWEG_APP_HOSTS": " ".join(options.hosts),
        "THALWEG_APP_READ_ONLY": "yes" if options.read_only or (options.hosts and options.read_only is None) else "",
    }
    command = [
        sys.executable,
        "-m",
        "thalweg.app.server.start",
        "run",
        str(script),
        f"--server.port={options.port}",
        *_FLAGS,
    ]
    if os.name == "posix":
        # this process becomes Streamlit, so that a signal to it reaches Streamlit
        os.execve(sys.executable, command, environment)
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _check_port(port: int) -> None:
    """Raise UserError where the port is taken."""
    with socket.socket() as probe:
        if os.name == "posix":
            # as servers do, ignore connections of an app that has ended
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"--port {port}: {error.strerror or error}; --port 0 takes a free one") from error


def _token() -> str:
    """The token of the environment, or a new one."""
    from thalweg.app.server.access import TOKEN

    given = os.environ.get("THALWEG_APP_TOKEN")
    if given and not TOKEN.fullmatch(given):
        raise UserError("THALWEG_APP_TOKEN: a token has 16 or more of the characters A-Z a-z 0-9 . _ ~ -")
    return given or secrets.token_urlsafe(32)
