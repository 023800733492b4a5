"""The app behind its token, which ``thalweg app`` runs with Streamlit."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from streamlit import config
from streamlit.starlette import App

from thalweg.app.server.access import Access
from thalweg.app.server.compressed import Compressed
from thalweg.app.server.first_page import FirstPage
from thalweg.app.server.icons import Icons

# without the variable there is a token too
TOKEN = os.environ.get("THALWEG_APP_TOKEN", secrets.token_urlsafe(32))
HOSTS = os.environ.get("THALWEG_APP_HOSTS", "").split()


@asynccontextmanager
async def telling(_: Any) -> AsyncIterator[None]:
    """Print the address once the port is known."""
    port = config.get_option("server.port")
    token = f"?token={TOKEN}" if TOKEN else ""
    # not localhost: a browser tries ::1 first, where another program may listen
    sys.stdout.write(f"thalweg's app: http://127.0.0.1:{port}/{token}\n")
    if TOKEN:
        sys.stdout.write("Other users of this machine need the token to see it. Ctrl-C stops the app.\n")
    else:
        sys.stdout.write("It has no token: every user of this machine can see it. Ctrl-C stops the app.\n")
    sys.stdout.flush()
    yield


# uvicorn would print lines at its start and for each connection
logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
app = App(
    Path(__file__).with_name("script.py"),
    lifespan=telling,
    middleware=[
        Middleware(Access, token=TOKEN, hosts=HOSTS),
        Middleware(FirstPage),
        Middleware(Icons),
        Middleware(Compressed),
    ],
)
