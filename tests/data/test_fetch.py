"""Downloads from a local HTTP server with every fault of real servers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from thalweg.data import download
from thalweg.data import fetch as fetching
from thalweg.data.fetch import DataFile, fetch, locate, present
from thalweg.errors import UserError
from thalweg.own import cache_folder as caches
from thalweg.registry import load_registry
from thalweg_plugins.problems._fetched import FetchedImages

CONTENT = bytes(i * i % 251 for i in range(300_000))
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path, in the manner that ``mode`` says; remembers what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "healthy"
        self.sent = 0
        """Bytes of an endless answer."""
        self.ranges: list[str | None] = []
        """The Range header of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        mode = self.server.mode
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        self.close_connection = True
        if mode in ("404", "503"):
            self.send_error(int(mode))
            return
        if mode == "hangs up":
            return
        if mode == "stalls":
            time.sleep(1.5)
            return
        if mode.startswith("redirect to "):
            self.server.mode = mode.removeprefix("redirect to ")
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if mode == "endless":
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {asked[6:-1]}-999999999/*")
            self.end_headers()
            while True:
                self.server.sent += self.wfile.write(bytes(1 << 16))
        content = b"x" + CONTENT[1:] if mode == "wrong bytes" else CONTENT
        if mode.startswith("too long"):
            content += b"x"
        start = 0
        if asked and mode != "no ranges":
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
        if mode == "other range" and asked:
            start = 7
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            total = "*" if mode == "too long, untold" else len(content)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{total}")
        self.send_header("Content-Encoding", "gzip")  # as servers say of .gz files that are to stay packed
        if mode not in ("no length", "too long, untold"):
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if mode in ("half", "half once", "no ranges half once"):
            body = body[: len(body) // 2]
            self.server.mode = {"half": "half", "half once": "healthy"}.get(mode, "no ranges")
        if mode == "half, then waits":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(20)
            return
        if mode == "slow":
            for i in range(0, len(body), 30_000):
                self.wfile.write(body[i : i + 30_000])
                time.sleep(0.03)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder of the data set ``things``; it does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("THALWEG_DATA", raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(fetching, "SYSTEM_FOLDERS", (tmp_path / "system",))
    return caches() / "things"


def file_at(*urls: str) -> DataFile:
    return DataFile("a.gz", tuple(f"{url}a.gz" for url in urls), DIGEST)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def put(folder: Path, content: bytes = CONTENT) -> Path:
    (folder / "things").mkdir(parents=True, exist_ok=True)
    path = folder / "things" / "a.gz"
    path.write_bytes(content)
    return path


def failure(file: DataFile) -> str:
    with pytest.raises(UserError) as caught:
        fetch("things", [file])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_downloaded_once(server: Server, cache: Path) -> None:
    file = file_at(server.url)
    assert locate("things", file) is None
    assert fetch("things", [file]) == {"a.gz": cache / "a.gz"}
    assert (cache / "a.gz").read_bytes() == CONTENT
    assert [path.name for path in cache.iterdir()] == ["a.gz"]
    assert fetch("things", [file]) == {"a.gz": cache / "a.gz"} == present("things", [file])
    assert server.ranges == [None]


@pytest.mark.parametrize(
    ("mode", "reason", "requests"),
    [
        ("404", "it answered 404 Not Found", 1),
        ("503", r"it answered 503 Service Unavailable \(3 attempts\)", 3),
        ("half", r"the connection was closed after [\d,]+ bytes \(3 attempts\)", 3),
        ("hangs up", r"the connection was closed without an answer \(3 attempts\)", 3),
        ("wrong bytes", f"it sent another file, not that of SHA-256 {DIGEST[:12]}", 1),
    ],
)
def test_a_fault_is_one_clear_line_leaves_nothing_and_is_over_when_the_server_is_well(
    server: Server, cache: Path, mode: str, reason: str, requests: int
) -> None:
    server.mode = mode
    message = failure(file_at(server.url))
    host = f"127.0.0.1:{server.server_port}"
    assert re.fullmatch(
        rf"things: a\.gz could not be downloaded \({host}: {reason}.*\); try again, or download it elsewhere, put it"
        r" into \$THALWEG_DATA/things/ and set THALWEG_DATA to the folder above",
        message,
    ), message
    assert len(server.ranges) == requests
    assert list(cache.iterdir()) == []
    server.mode = "healthy"
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT
    assert server.ranges[requests:] == [None]


def test_a_server_that_is_not_there_is_asked_once(server: Server, cache: Path) -> None:
    assert "there is no connection to it)" in failure(file_at(closed_port()))
    assert list(cache.iterdir()) == []
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT


def test_a_server_that_says_nothing_is_given_up(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", (1.0, 0.1))
    server.mode = "stalls"
    assert "no answer within 0.1 s (3 attempts)" in failure(file_at(server.url))
    server.mode = "half, then waits"
    assert "it sent nothing for 0.1 s (3 attempts)" in failure(file_at(server.url))
    assert list(cache.iterdir()) == []


def test_a_slow_server_is_waited_for(server: Server) -> None:
    server.mode = "slow"
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT


def test_a_transfer_that_broke_is_continued(server: Server, cache: Path) -> None:
    server.mode = "half once"
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=150000-"]
    assert [path.name for path in cache.iterdir()] == ["a.gz"]


def test_a_server_without_ranges_is_read_from_the_start(server: Server) -> None:
    server.mode = "no ranges half once"
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=150000-"]


def test_a_server_that_does_not_say_the_length_is_checked_by_the_digest(server: Server) -> None:
    server.mode = "no length"
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("endless", "it sends more bytes than the file has, at most 300,000"),
        ("too long", "it has 300,001 bytes, and the file has at most 300,000"),
        ("too long, untold", "it sends more bytes than the file has, at most 300,000"),
    ],
)
@pytest.mark.parametrize("left", [b"", CONTENT[:1000]], ids=["from the start", "continued"])
def test_a_server_that_has_more_than_the_file_is_not_read_on(
    server: Server, cache: Path, mode: str, reason: str, left: bytes
) -> None:
    server.mode = mode
    if left:
        cache.mkdir(parents=True)
        (cache / "a.gz.part").write_bytes(left)
    file = replace(file_at(server.url), size=len(CONTENT))
    assert f"(127.0.0.1:{server.server_port}: {reason})" in failure(file)
    assert list(cache.iterdir()) == []
    assert server.ranges == [f"bytes={len(left)}-" if left else None]
    # all that it had written by then is not much: buffers of both ends
    assert server.sent < 50_000_000
    server.mode = "healthy"
    assert fetch("things", [file])["a.gz"].read_bytes() == CONTENT


def test_another_mirror_begins_anew_after_one_that_had_too_much(server: Server) -> None:
    with Server() as long:
        thread = threading.Thread(target=long.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        long.mode = "too long, untold"
        file = replace(file_at(long.url, server.url), size=len(CONTENT))
        assert fetch("things", [file])["a.gz"].read_bytes() == CONTENT
        long.shutdown()
        thread.join()
    assert server.ranges == [None]


def test_a_redirect_leads_to_the_same_limit(server: Server, cache: Path) -> None:
    server.mode = "redirect to endless"
    assert "it sends more bytes than the file has" in failure(replace(file_at(server.url), size=len(CONTENT)))
    assert list(cache.iterdir()) == []


def test_every_built_in_file_has_its_size() -> None:
    registry = load_registry([])
    problems = [registry.problem(entry.name) for entry in registry.entries("problems")]
    files = [
        (problem.name, file) for problem in problems if isinstance(problem, FetchedImages) for file in problem.files
    ]
    assert len(files) >= 18
    for name, file in files:
        assert 4_000 < file.size < 200_000_000, (name, file.name)


def test_mirrors_are_tried_in_turn(server: Server) -> None:
    assert fetch("things", [file_at(closed_port(), server.url)])["a.gz"].read_bytes() == CONTENT


def test_a_mirror_continues_what_another_began(server: Server) -> None:
    with Server() as broken:
        thread = threading.Thread(target=broken.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        broken.mode = "half"
        assert fetch("things", [file_at(broken.url, server.url)])["a.gz"].read_bytes() == CONTENT
        broken.shutdown()
        thread.join()
    assert server.ranges == ["bytes=262500-"]


def test_when_all_mirrors_fail_each_reason_is_given(server: Server) -> None:
    server.mode = "404"
    message = failure(file_at(closed_port(), server.url))
    assert "there is no connection to it; 127.0.0.1:" in message
    assert "404 Not Found" in message


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_what_an_interrupted_process_left_is_continued(server: Server, cache: Path, by: signal.Signals) -> None:
    server.mode = "half, then waits"
    part = cache / "a.gz.part"
    process = start_fetch(file_at(server.url))
    wait_for(lambda: part.exists() and part.stat().st_size > 100_000)
    process.send_signal(by)
    assert process.wait(timeout=30) != 0
    have = part.stat().st_size
    server.mode = "healthy"
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={have}-"]
    assert [path.name for path in cache.iterdir()] == ["a.gz"]


@pytest.mark.parametrize(
    ("left", "mode", "asked"),
    [
        (CONTENT[:1000], "healthy", ["bytes=1000-"]),
        (CONTENT, "healthy", ["bytes=300000-"]),
        (b"y" * 1000, "healthy", ["bytes=1000-", None]),
        (CONTENT + b"too long", "healthy", ["bytes=300008-", None]),
        (CONTENT[:1000], "other range", ["bytes=1000-", None]),
    ],
    ids=["some", "all", "wrong bytes", "too long", "the server sends other bytes"],
)
def test_what_was_left_is_used_where_it_is_right_and_dropped_where_not(
    server: Server, cache: Path, left: bytes, mode: str, asked: list[str | None]
) -> None:
    cache.mkdir(parents=True)
    (cache / "a.gz.part").write_bytes(left)
    server.mode = mode
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT
    assert server.ranges == asked
    assert [path.name for path in cache.iterdir()] == ["a.gz"]


def test_a_full_disk_is_an_error_and_no_partial_file_is_left(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "a.gz.part").symlink_to("/dev/full")
    message = failure(file_at(server.url, closed_port()))
    assert f"({cache}: No space left on device)" in message
    assert list(cache.iterdir()) == []
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT


def test_a_cache_that_cannot_be_made_is_an_error(server: Server, cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    assert f"({cache}: Not a directory)" in failure(file_at(server.url))


def test_two_processes_download_a_file_once(server: Server, cache: Path) -> None:
    server.mode = "slow"
    processes = [start_fetch(file_at(server.url)) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert server.ranges == [None]
    assert (cache / "a.gz").read_bytes() == CONTENT


def test_a_wrong_file_in_the_cache_is_fetched_anew(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "a.gz").write_bytes(b"something else")
    assert locate("things", file_at(server.url)) is None
    assert fetch("things", [file_at(server.url)])["a.gz"].read_bytes() == CONTENT


def test_the_users_folder_comes_first_and_is_only_read(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_at(server.url)
    fetch("things", [file])
    path = put(tmp_path / "own")
    before = path.stat()
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "own"))
    assert fetch("things", [file]) == {"a.gz": path} == present("things", [file])
    assert (path.stat().st_mtime_ns, [*path.parent.iterdir()]) == (before.st_mtime_ns, [path])
    assert len(server.ranges) == 1


def test_what_the_users_folder_lacks_goes_to_the_cache(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "own"))
    assert fetch("things", [file_at(server.url)]) == {"a.gz": cache / "a.gz"}
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_users_folder_that_is_none_is_an_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "file":
        (tmp_path / "own").write_bytes(b"")
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "own"))
    assert "is no folder that can be read" in failure(file_at(server.url))
    assert server.ranges == []


def test_a_wrong_file_in_the_users_folder_is_an_error_and_stays(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "own", b"something else")
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "own"))
    message = failure(file_at(server.url))
    found = hashlib.sha256(b"something else").hexdigest()
    assert str(path) in message
    assert DIGEST[:12] in message
    assert found[:12] in message
    assert "put the right one in its place, or remove it" in message
    assert path.read_bytes() == b"something else"
    assert server.ranges == []


def test_another_packing_of_the_same_content_is_accepted_where_it_is_found(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "own", b"packed otherwise")
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "own"))
    file = DataFile("a.gz", (server.url,), DIGEST, also=(hashlib.sha256(b"packed otherwise").hexdigest(),))
    assert fetch("things", [file]) == {"a.gz": path}


def test_the_systems_folder_is_used_where_its_file_is_right(server: Server, cache: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "system")
    assert fetch("things", [file_at(server.url)]) == {"a.gz": path}
    put(tmp_path / "system", b"something else")
    assert fetch("things", [file_at(server.url)]) == {"a.gz": cache / "a.gz"}
    assert path.read_bytes() == b"something else"


def test_without_a_network_a_missing_file_is_named_with_what_to_do(server: Server) -> None:
    with pytest.raises(UserError, match=r"^things: a\.gz is not on this machine; .*\$THALWEG_DATA/things/"):
        present("things", [file_at(server.url)])
    assert server.ranges == []


def test_where_there_is_no_terminal_a_line_is_said_at_the_start_and_one_at_the_end(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.mode = "half once"
    fetch("things", [file_at(server.url)])
    out, err = capfd.readouterr()
    host = f"127.0.0.1:{server.server_port}"
    pattern = rf"things/a\.gz: downloading from {host}, 0\.3 MB\nthings/a\.gz: 0\.3 MB, done in \d+\.\d s\n"
    assert re.fullmatch(pattern, err), err
    assert out == ""


def test_on_a_terminal_there_is_a_bar(server: Server, cache: Path) -> None:
    mother, child = os.openpty()
    process = start_fetch(file_at(server.url), stderr=child)
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's word for the end of a terminal
        while piece := os.read(mother, 1 << 16):
            shown += piece
    os.close(mother)
    assert process.wait(timeout=30) == 0
    assert b"things/a.gz" in shown
    assert b"300.0/300.0 kB" in shown
    assert b"downloading from" not in shown


def start_fetch(file: DataFile, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """A process of its own that fetches the file."""
    program = (
        # a test run in the background hands down that SIGINT is ignored
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from thalweg.data.fetch import *; fetch('things', [{file!r}])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "150"}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=stderr)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
