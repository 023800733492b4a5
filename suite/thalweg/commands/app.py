"""``thalweg app``."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from thalweg.errors import UserError
from thalweg.registry import load_registry
from thalweg.store.roots import results_root

_FLAGS = (
    "--browser.gatherUsageStats=false",
    "--server.headless=true",
    "--server.address=127.0.0.1",
    "--client.toolbarMode=minimal",
    # it prints an address without the token
    "--logger.hideWelcomeMessage=true",
)

_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def app_command(
    results: Path | None, port: int, plugin_files: list[Path], with_token: bool = True, hosts: Sequence[str] = ()
) -> int:
    """Start streamlit on the app until it is interrupted.

    Args:
        results: the folder to show first.
        port: where to listen, on loopback alone.
        plugin_files: plugins to load.
        with_token: ask for the token that the printed address has, ``$THALWEG_APP_TOKEN`` or a new one.
        hosts: names besides localhost by which the app may be addressed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise UserError("the app needs streamlit: pip install 'thalweg[app]'")
    for name in hosts:
        if not _NAME.fullmatch(name):
            raise UserError(f"--allow-host {name!r}: a name as results.example.org, without http:// and port")
    load_registry(plugin_files)  # a plugin file that is not there is said here and not in the browser
    _check_port(port)
    script = Path(__file__).resolve().parents[1] / "app" / "served.py"
    environment = {
        **os.environ,
        "THALWEG_RESULTS": str(results_root(results).absolute()),
        "THALWEG_PLUGIN_FILES": os.pathsep.join(str(path.absolute()) for path in plugin_files),
        # not on the command line, which every user can see
        "THALWEG_APP_TOKEN": _token() if with_token else "",
        "THALWEG_APP_HOSTS": " ".join(hosts),
    }
    command = [sys.executable, "-m", "thalweg.app.start", "run", str(script), f"--server.port={port}", *_FLAGS]
    if os.name == "posix":
        # become streamlit, so that whoever stops this process stops it
        os.execve(sys.executable, command, environment)
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130


def _check_port(port: int) -> None:
    """Nobody else has it: streamlit says so in words of its own."""
    with socket.socket() as probe:
        if os.name == "posix":
            # as servers do: connections of an app that has ended do not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"--port {port}: {error.strerror or error}; --port 0 takes a free one") from error


def _token() -> str:
    """The one that was given, or a new one."""
    from thalweg.app.access import TOKEN

    given = os.environ.get("THALWEG_APP_TOKEN")
    if given and not TOKEN.fullmatch(given):
        raise UserError("THALWEG_APP_TOKEN: a token has 16 and more of the characters A-Z a-z 0-9 . _ ~ -")
    return given or secrets.token_urlsafe(32)
