"""Access to the app: which requests it answers, over real connections, also from other users."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app_server import Serving, serving
from support import CommandLine

ROUTES = (
    "/",
    "/trial?benchmark=tiny",
    "/_stcore/health",
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/_stcore/script-health-check",
    "/_stcore/stream",
    "/_stcore/agent",
    "/_stcore/upload_file/a/b",
    "/media/0123456789abcdef.csv",
    "/component/st.x/index.html",
    "/_stcore/bidi-components/x/index.js",
    "/app/static/x",
    "/static/js/index.js",
    "/favicon.png",
    "/index.html",
    "//_stcore/health",
    "/oauth2callback",
)


@pytest.fixture(scope="module")
def served(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("app"), "--results", str(results)) as started:
        yield started


def ask(
    served: Serving, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of an answer; redirects are not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in ({"Host": f"localhost:{served.port}"} | dict(headers or {})).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def cookie(served: Serving, token: str | None = None) -> dict[str, str]:
    return {"Cookie": f"other=1; thalweg-{served.port}={served.token if token is None else token}"}


def stream(served: Serving, headers: Mapping[str, str], host: str = "") -> int:
    """The status with which a WebSocket is refused; 101 where it is opened."""
    place = host or f"localhost:{served.port}"
    try:
        raw = socket.create_connection(("127.0.0.1", served.port), timeout=30)
        with connect(f"ws://{place}/_stcore/stream", sock=raw, additional_headers=dict(headers), open_timeout=30):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("path", ROUTES)
def test_without_the_token_every_route_says_what_to_do_and_no_more(served: Serving, path: str) -> None:
    more = "&" if "?" in path else "?"
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        for address, headers in (
            (path, {}),
            (path, cookie(served, "")),
            (path, cookie(served, served.token[:-1])),
            (path, cookie(served, "\u00e9" * 20)),
            (f"{path}{more}token=", {}),
            (f"{path}{more}token={served.token}x", {}),
            (f"{path}{more}token=wrong&token={served.token}", {}),
        ):
            status, answered, text = ask(served, address, headers, method)
            assert status == 403
            assert "Open the address that <code>thalweg app</code> printed" in text
            assert served.token not in text
            assert "set-cookie" not in answered


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.0.2.1", "", "a@localhost", "localhost:x"]
)
def test_a_foreign_name_is_refused_on_every_route_with_the_token_too(served: Serving, path: str, host: str) -> None:
    foreign = {"Host": host, "Origin": f"http://{host}"}
    more = "&" if "?" in path else "?"
    for address in (path, f"{path}{more}token={served.token}"):
        status, answered, text = ask(served, address, cookie(served) | foreign)
        assert status == 403
        assert "does not answer to the name" in text
        assert served.token not in f"{answered}{text}"


def test_the_websocket_is_open_to_the_app_alone(served: Serving) -> None:
    own = {"Origin": f"http://localhost:{served.port}"}
    assert stream(served, own | cookie(served)) == 101
    assert stream(served, own) == 403
    assert stream(served, own | cookie(served, "wrong")) == 403
    assert stream(served, cookie(served) | {"Origin": "http://evil.example"}) == 403
    # another port of this machine may be another user's
    assert stream(served, cookie(served) | {"Origin": f"http://localhost:{served.port + 1}"}) == 403
    foreign = f"evil.example:{served.port}"
    assert stream(served, cookie(served) | {"Origin": f"http://{foreign}"}, foreign) == 403


def test_the_token_is_asked_for_once_and_does_not_stay_in_the_address(served: Serving) -> None:
    status, answered, _ = ask(served, f"/trial?benchmark=tiny&token={served.token}&q=a%26b")
    assert (status, answered["location"]) == (303, "/trial?benchmark=tiny&q=a%26b")
    assert answered["set-cookie"] == f"thalweg-{served.port}={served.token}; Path=/; HttpOnly; SameSite=Lax"
    assert (answered["cache-control"], answered["referrer-policy"]) == ("no-store", "no-referrer")
    assert ask(served, "/trial?benchmark=tiny", cookie(served))[0] == 200
    assert ask(served, "/_stcore/health", cookie(served))[0] == 200
    for name in ("127.0.0.1", "LOCALHOST", "localhost.", "[::1]"):
        host = {"Host": f"{name}:{served.port}", "Origin": f"http://{name}:{served.port}"}
        assert ask(served, "/", cookie(served) | host)[0] == 200


@pytest.mark.parametrize("path", ["//evil.example", "/%5Cevil.example", "///evil.example/x", "/%0d%0aSet-Cookie:a=b"])
def test_nobody_is_sent_on_to_another_server(served: Serving, path: str) -> None:
    status, answered, _ = ask(served, f"{path}?token={served.token}")
    assert status == 303
    assert answered["location"].startswith("/")
    assert not answered["location"].startswith(("//", "/\\"))
    assert answered["set-cookie"].startswith("thalweg-")


STRANGER = """
import encodings.idna, http.client, json, os, sys
# no more imports from here: Python's files may be root's alone
port, process = map(int, sys.argv[1:])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
connection.request("GET", "/", headers={"Host": f"localhost:{port}"})
status = connection.getresponse().status
try:
    environment = open(f"/proc/{process}/environ").read()
except OSError as error:
    environment = type(error).__name__
print(json.dumps([os.getuid(), status, environment, open(f"/proc/{process}/cmdline").read()]))
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="becomes another user")
def test_another_user_of_the_machine_sees_no_page_and_no_token(served: Serving) -> None:
    command = [sys.executable, "-c", STRANGER, str(served.port), str(served.process.pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    user, status, environment, line = json.loads(done.stdout)
    assert (user, status, environment) == (65534, 403, "PermissionError")
    assert "served.py" in line
    assert served.token not in line


def test_two_apps_have_two_tokens_and_cookies(served: Serving, results: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--results", str(results)) as other:
        assert other.token != served.token
        assert ask(other, "/", cookie(served))[0] == 403
        both = {"Cookie": f"{cookie(served)['Cookie']}; {cookie(other)['Cookie']}"}
        assert ask(other, "/", both)[0] == ask(served, "/", both)[0] == 200


def test_without_a_token_only_the_names_are_asked_for(results: Path, tmp_path: Path) -> None:
    words = ("--results", str(results), "--no-token", "--allow-host", "results.example.org")
    with serving(tmp_path, *words) as opened:
        # not localhost, which is ::1 first, where another user may listen
        assert opened.printed == f"{opened.base}/"
        assert "every user of this machine can see it" in opened.log.read_text(encoding="utf-8")
        assert ask(opened, "/")[0] == 200
        assert ask(opened, "/", {"Host": "results.example.org"})[0] == 200
        assert ask(opened, "/", {"Host": "other.example.org"})[0] == 403
        assert stream(opened, {"Origin": f"http://localhost:{opened.port}"}) == 101
        assert stream(opened, {"Origin": "http://evil.example"}) == 403


def test_a_port_that_is_taken_is_told_in_one_line(cli: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        (line,) = cli("app", "--port", port, code=2).stderr.splitlines()
    assert line.startswith(f"error: --port {port}: ")
    assert line.endswith("--port 0 takes a free one")


def test_a_token_of_ones_own_and_an_end_by_ctrl_c(results: Path, tmp_path: Path) -> None:
    own = {"THALWEG_APP_TOKEN": "a-token.of_my~own-0123"}
    with serving(tmp_path, "--results", str(results), environment=own) as started:
        assert started.token == own["THALWEG_APP_TOKEN"]
        assert ask(started, "/", cookie(started))[0] == 200
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(timeout=30) == 130
        assert "Traceback" not in started.log.read_text(encoding="utf-8")


def test_a_token_and_a_name_that_cannot_be_are_refused(cli: CommandLine) -> None:
    cli.environment["THALWEG_APP_TOKEN"] = "short"
    assert "THALWEG_APP_TOKEN: a token has 16 or more of the characters" in cli("app", code=2).stderr
    del cli.environment["THALWEG_APP_TOKEN"]
    for name in ("http://results.example.org", "a b", "results.example.org:80", "*"):
        assert (
            f"--allow-host {name!r}: a name as results.example.org" in cli("app", "--allow-host", name, code=2).stderr
        )


def test_two_names_none_or_an_origin_of_no_page_are_refused(served: Serving) -> None:
    own = f"Host: localhost:{served.port}\r\nCookie: thalweg-{served.port}={served.token}\r\n"
    for version, lines, expected in (
        ("1.1", own, b"200"),
        ("1.1", f"{own}Host: evil.example\r\n", b"403"),
        ("1.0", own.partition("\r\n")[2], b"403"),
        ("1.1", f"{own}Origin: null\r\n", b"403"),
    ):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as raw:
            raw.sendall(f"GET / HTTP/{version}\r\n{lines}Connection: close\r\n\r\n".encode())
            # a server may know of itself that two names are wrong
            assert raw.recv(12).split()[1] in (expected, b"400" if expected == b"403" else expected)


@pytest.mark.parametrize(
    "others",
    [
        'a={"x": 1}; {}',
        '{}; a={"x": 1}',
        'a="unclosed; {}',
        "a b=c; {}",
        "nothing; {}",
        "path=/x; {}",
        "expires=Mon, 01 Jan; {}",
        "a[]=1; {}",
        "a=\xe9; {}",
        "=; {}",
        "thalweg-PORT=another; {}",
        "{}; thalweg-PORT=another",
    ],
)
def test_cookies_of_other_programs_on_this_machine_shut_nobody_out(served: Serving, others: str) -> None:
    port = str(served.port)
    mine = others.replace("PORT", port).replace("{}", f"thalweg-{port}={served.token}")
    assert ask(served, "/_stcore/health", {"Cookie": mine})[0] == 200
    foreign = others.replace("PORT", port).replace("{}", f"thalweg-{port}=another")
    assert ask(served, "/_stcore/health", {"Cookie": foreign})[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://[", "http://\\", "http://a]b", "//", "", "http://localhost:PORT\\@evil.example"]
)
def test_an_origin_that_is_no_address_is_refused_and_no_error(served: Serving, origin: str) -> None:
    headers = cookie(served) | {"Origin": origin.replace("PORT", str(served.port))}
    assert ask(served, "/_stcore/health", headers)[0] == 403
    assert stream(served, headers) == 403


def test_a_checkouts_own_settings_listen_on_this_machine_alone() -> None:
    import tomllib

    settings = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert settings["server"]["address"] == "localhost"
    assert settings["server"]["allowedHosts"] == ["localhost", "127.0.0.1", "::1"]
