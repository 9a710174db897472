"""Telling a webhook: signed, to nobody inside by accident, and without a secret in any error."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.adapters import webhook
from pipeline.adapters.webhook import WebhookTarget, check_address, is_public, signature, tell
from pipeline.errors import ConfigurationError, Unavailable

SECRET = b"a secret of the receiver"
NOW = 1_700_000_000.7
Answer = Callable[[BaseHTTPRequestHandler], None]


class Receiver:
    """A web server that remembers what it was sent."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                answer(self)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]


@contextmanager
def receiving(answer: Answer) -> Iterator[Receiver]:
    receiver = Receiver(answer)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


def status(code: int, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()

    return answer


def target(address: str, allows_private: bool = True) -> WebhookTarget:
    return WebhookTarget("pager", address, SECRET, allows_private)


def test_a_message_is_signed_together_with_its_moment() -> None:
    body = b'{"kind": "alert"}'
    with receiving(status(204)) as receiver:
        tell(target(f"http://127.0.0.1:{receiver.port}/hook?key=1"), body, "7-pager", NOW)
    ((path, headers, got),) = receiver.requests
    assert (path, got) == ("/hook?key=1", body)
    assert headers["Sightline-Timestamp"] == "1700000000" and headers["Sightline-Delivery"] == "7-pager"
    expected = hmac.new(SECRET, b"1700000000." + body, hashlib.sha256).hexdigest()
    assert headers["Sightline-Signature"] == f"sha256={expected}"
    assert signature(SECRET, 1_700_000_000, body) == expected
    assert signature(SECRET, 1_700_000_001, body) != expected != signature(b"another", 1_700_000_000, body)


def test_a_name_is_resolved_once_and_that_address_is_connected_to() -> None:
    """Whoever owns the name could let it mean something else a moment later."""
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with receiving(status(200)) as receiver:
        tell(target(f"http://nowhere.invalid:{receiver.port}/"), b"{}", "1", NOW, resolve)
    assert asked == [("nowhere.invalid", receiver.port)]
    assert receiver.requests[0][1]["Host"] == f"nowhere.invalid:{receiver.port}"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.8",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",  # what clouds tell their machines
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",  # 10.0.0.1 through NAT64
        "2002:a00:1::",  # 10.0.0.1 through 6to4
    ],
)
def test_inner_addresses_are_told_nothing_unless_allowed(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(Unavailable, match="no public address"):
        tell(target("http://inside.example/", allows_private=False), b"{}", "1", NOW, lambda *_: [address])


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"])
def test_public_addresses_may_be_told(address: str) -> None:
    assert is_public(address)


def test_of_several_addresses_only_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(place: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        tell(target("https://mixed.example/", False), b"{}", "1", NOW, lambda *_: ["10.0.0.1", "8.8.8.8", "8.8.4.4"])
    assert tried == [("8.8.8.8", 443), ("8.8.4.4", 443)]


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
def test_odd_spellings_of_this_machine_are_seen_through(host: str) -> None:
    with pytest.raises(Unavailable):
        tell(target(f"http://{host}:9/", allows_private=False), b"{}", "1", NOW)


def test_redirects_are_not_followed() -> None:
    with (
        receiving(status(200)) as inner,
        receiving(status(307, Location=f"http://127.0.0.1:{inner.port}/")) as outer,
        pytest.raises(Unavailable, match=r"status 307.*redirects are not followed"),
    ):
        tell(target(f"http://127.0.0.1:{outer.port}/"), b"{}", "1", NOW)
    assert len(outer.requests) == 1 and inner.requests == []


def test_any_answer_but_success_is_a_failure_that_names_no_secret() -> None:
    with receiving(status(500)) as receiver:
        address = f"http://127.0.0.1:{receiver.port}/services/T0KEN?key=K3Y"
        with pytest.raises(Unavailable, match=r"pager at 127\.0\.0\.1 answers with status 500") as failed:
            tell(target(address), b"{}", "1", NOW)
    away = target("http://127.0.0.1:1/services/T0KEN?key=K3Y")
    with pytest.raises(Unavailable, match="does not answer") as refused:
        tell(away, b"{}", "1", NOW)
    for error in (failed.value, refused.value):
        assert not any(secret in str(error) for secret in ("T0KEN", "K3Y", SECRET.decode()))


def test_an_answer_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LONGEST_S", 0.3)

    def drip(request: BaseHTTPRequestHandler) -> None:
        try:
            while True:
                request.wfile.write(b"H")
                time.sleep(0.02)
        except OSError:
            return

    started_s = time.monotonic()
    with receiving(drip) as receiver, pytest.raises(Unavailable):
        tell(target(f"http://127.0.0.1:{receiver.port}/"), b"{}", "1", NOW)
    assert time.monotonic() - started_s < 5.0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes a certificate, is missing")
def test_a_certificate_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    command = ["openssl", "req", *made, "-keyout", str(key), "-out", str(certificate), "-days", "1"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiving(status(200)) as receiver:
        receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
        receiver.server.handle_error = lambda *_: None  # type: ignore[method-assign, misc, assignment]
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            tell(target(f"https://localhost:{receiver.port}/"), b"{}", "1", NOW)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "example.com/hook",
        "https://user:pass@example.com/",
        "http://example.com:99999/",
        "http://example.com/a b",
        "http://example.com/\r\nX-Other: 1",
        "http://exämple.com/",
    ],
)
def test_what_cannot_be_an_address_is_refused_unquoted(address: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_address(address)
    assert address not in str(refused.value)
    check_address("https://example.com:8443/services/T0KEN?a=b")
