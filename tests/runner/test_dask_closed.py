"""Only its user reaches the cluster that thalweg starts, tested with the requests of other users."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dask_cluster import cluster
from support import CommandLine, results
from thalweg.errors import UserError
from thalweg.runner import dask as executor

distributed = pytest.importorskip("distributed")
pytest.importorskip("cryptography")
from thalweg.runner.own_cluster import own_cluster  # noqa: E402 - needs distributed

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes in /proc")


def processes() -> list[psutil.Process]:
    """This one, and what it has started."""
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def listening() -> set[tuple[str, int]]:
    """Addresses at which they can be reached."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


@contextlib.contextmanager
def ours() -> Iterator[tuple[Any, set[tuple[str, int]]]]:
    """The cluster with one worker, and its sockets."""
    before = listening()
    with own_cluster(1, 10**9) as started:
        started.sync(started._wait_for_workers, 1, 60)
        yield started, listening() - before


def answers_http(place: tuple[str, int]) -> bool:
    """Whether the listener at an address answers HTTP."""
    with socket.create_connection(place, timeout=10) as plain:
        try:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return plain.recv(100).startswith(b"HTTP/")
        except OSError:
            return False


def takes(place: tuple[str, int], context: ssl.SSLContext) -> bool:
    """Whether the listener at an address continues after a TLS handshake."""
    with socket.create_connection(place, timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as inside:
                # TLS 1.3 tells of a refusal in the first answer; a comm of dask greets whom it takes
                return bool(inside.recv(1))
        except OSError:
            return False


def trusting(security: Any = None) -> ssl.SSLContext:
    """Takes any server; with the certificate of somebody, or with none."""
    if security is not None:
        context: ssl.SSLContext = security.get_connection_args("client")["ssl_context"]
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def reached(address: str, security: Any = None) -> bool:
    """Whether a client gets a task done."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        with distributed.Client(address, security=security, timeout=5) as client:
            return bool(client.submit(os.getpid).result(timeout=20))
    except (OSError, TypeError, ValueError, RuntimeError):
        return False


def test_every_socket_wants_the_certificate() -> None:
    stranger = distributed.Security.temporary()
    with ours() as (started, sockets):
        assert len(sockets) == 3, "scheduler, nanny, worker; and no pages"
        for place in sockets:
            assert place[0] == "127.0.0.1"
            assert not answers_http(place)
            assert takes(place, trusting(started.security))
            assert not takes(place, trusting())
            assert not takes(place, trusting(stranger))
        address = started.scheduler_address
        assert address.startswith("tls://")
        assert reached(address, started.security)
        assert not reached(address.replace("tls://", "tcp://"))
        assert not reached(address, stranger)


def test_an_open_cluster_is_seen_as_open() -> None:
    before = listening()
    how = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**how, silence_logs=logging.CRITICAL) as opened:
        assert sum(map(answers_http, listening() - before)) == 2
        assert reached(opened.scheduler_address)


def test_the_key_is_in_no_file_environment_or_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with ours() as (started, _):
        key = started.security.tls_worker_key
        assert key.startswith("-----BEGIN PRIVATE KEY-----")
        part = key.splitlines()[5].encode()
        (folder,) = tmp_path.glob("thalweg-dask-*")
        assert folder.stat().st_mode & 0o077 == 0
        assert folder in Path(next(iter(started.scheduler_info["workers"].values()))["local_directory"]).parents
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if part in path.read_bytes()]
        assert len(processes()) > 1
        for process in processes():
            for name in ("environ", "cmdline"):
                assert part not in Path(f"/proc/{process.pid}/{name}").read_bytes()
    assert not list(tmp_path.glob("thalweg-dask-*"))


STRANGER = """
import json, logging, os, sys
import distributed
logging.getLogger("distributed").setLevel(logging.CRITICAL)
address, found = sys.argv[1], []
own = distributed.Security.temporary()
with distributed.Client(processes=False, dashboard_address=None):
    pass  # imports what it needs while Python's files can be read: they may be root's alone
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for where, security in ((address, None), (address.replace("tls://", "tcp://"), None), (address, own)):
    try:
        with distributed.Client(where, security=security, timeout=3) as client:
            found.append(client.submit(os.getuid).result(timeout=20))
    except (OSError, TypeError, ValueError, RuntimeError):
        found.append(None)
print(json.dumps([os.getuid(), found]))
"""


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="becomes another user")
def test_another_user_of_the_machine_runs_nothing(tmp_path: Path) -> None:
    def asked(address: str) -> Any:
        command = [sys.executable, "-c", STRANGER, address]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with own_cluster(1, 10**9) as started:
        assert asked(started.scheduler_address) == [65534, [None, None, None]]
    how = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**how, silence_logs=logging.CRITICAL) as opened:
        assert asked(opened.scheduler_address) == [65534, [0, 0, None]], "what is open, it does reach"


def certificates(folder: Path) -> dict[str, str]:
    """An authority's certificate and one that it has signed, as settings of dask."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    now = datetime.datetime.now(datetime.UTC)
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    for name, key, issuer in (("authority", authority, "authority"), ("own", own, "authority")):
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
            .sign(authority, hashes.SHA256())
        )
        (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "own.pem").write_bytes(pem)
    tls = "DASK_DISTRIBUTED__COMM__TLS"
    settings = {f"{tls}__CA_FILE": str(folder / "authority.crt"), "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"{tls}__{role}__CERT": str(folder / "own.crt"), f"{tls}__{role}__KEY": str(folder / "own.pem")}
    return settings


def test_a_cluster_with_certificates_of_its_own_trains(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    settings = certificates(cli.folder)
    words = ["run", "small.toml", "--only", "workload=bowl", "--executor", "dask", "--dask-scheduler"]
    with cluster(cli.folder, workers=1, settings=settings) as started:
        assert started.address.startswith("tls://")
        assert not reached(started.address, distributed.Security.temporary())
        error = cli(*words, started.address, code=2).stderr
        assert "its TLS and dask's settings here do not go together" in error
        assert "Traceback" not in error
        cli.environment |= settings
        report = cli.json(*words, started.address)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (4, 0)
    assert len(results(cli).scan()[0]) == 4


@pytest.mark.parametrize(("address", "said"), [
    ("tcp://192.0.2.1:8786", True),
    ("scheduler.example.org:8786", True),
    ("tcp://[2001:db8::1]:8786", True),
    ("tls://192.0.2.1:8786", False),
    ("tcp://127.0.0.1:8786", False),
    ("tcp://127.8.8.8:8786", False),
    ("tcp://localhost:8786", False),
    ("tcp://[::1]:8786", False),
])  # fmt: skip
def test_an_address_without_tls_on_a_network_is_said_once(
    address: str, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    executor._tell_if_open.cache_clear()
    for _ in range(2):
        executor._tell_if_open(address)
    error = capsys.readouterr().err
    assert error.count(f"--dask-scheduler {address} has no TLS: whoever reaches it can run code") == said
    assert error.count("\n") == said


def test_a_run_tells_of_an_address_without_tls(process_cli: CommandLine, small: Path) -> None:
    words = ["run", "small.toml", "--executor", "dask", "--dask-scheduler", "tcp://0.0.0.0:1"]
    error = process_cli(*words, code=2).stderr
    assert "--dask-scheduler tcp://0.0.0.0:1 has no TLS" in error
    assert "no scheduler answers there" in error


def test_what_makes_certificates_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with (
        pytest.raises(UserError, match=r"executor 'dask' needs cryptography: pip install 'thalweg\[dask\]'"),
        own_cluster(1, 10**9),
    ):
        pass
