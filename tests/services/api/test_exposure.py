"""How far the API reaches: TLS, proxies, and what is checked before anything starts."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest

from pipeline.accounts import Account, Role
from pipeline.errors import ConfigurationError
from services.api.dependencies import ApiDependencies
from services.api.exposure import Transport, check_exposure
from services.api.main import listening, serve
from services.runtime import open_accounts
from services.settings import Settings, load
from services.up import page_address
from tests.services.api.people import PASSWORD, add_account
from tests.small_site import api_dependencies, small_site

x509 = pytest.importorskip("cryptography.x509", reason="a certificate is made with `cryptography`")


@pytest.fixture
def deps(tmp_path: Path) -> Iterator[ApiDependencies]:
    """Over a file, because the real server has many threads."""
    site = small_site(folder=tmp_path)
    yield dataclasses.replace(api_dependencies(site), host="0.0.0.0", token="t" * 20)
    site.store.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, key, now = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
    encoding = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(encoding))
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def running(deps: ApiDependencies, transport: Transport) -> Iterator[int]:
    """The port of the real server."""
    stop, ready = threading.Event(), threading.Event()
    listener = listening("127.0.0.1", 0)
    thread = threading.Thread(target=serve, args=(deps, listener, stop, ready.set, transport))
    thread.start()
    try:
        assert ready.wait(30.0)
        yield listener.getsockname()[1]
    finally:
        stop.set()
        thread.join()


def test_with_a_certificate_it_speaks_tls_alone_and_its_cookie_is_for_tls_alone(
    deps: ApiDependencies, certificate: tuple[Path, Path]
) -> None:
    add_account(deps, "anna", Role.VIEWER)
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    with running(deps, Transport(*certificate)) as port:
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trust) as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            done = client.post("/login", data={"name": "anna", "password": PASSWORD})
            assert done.status_code == 303 and "secure" in done.headers["set-cookie"].lower()
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")


@pytest.mark.parametrize(("trusted", "address"), [((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")])
def test_only_a_trusted_proxy_is_believed_about_the_sender(
    deps: ApiDependencies, trusted: tuple[str, ...], address: str
) -> None:
    add_account(deps, "anna", Role.VIEWER)
    said = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    with running(deps, Transport(trusted_proxies=trusted)) as port:
        form = {"name": "anna", "password": PASSWORD}
        done = httpx.post(f"http://127.0.0.1:{port}/login", data=form, headers=said)
    assert ("secure" in done.headers["set-cookie"].lower()) is bool(trusted)
    newest = deps.audit.newest(1)[0]  # type: ignore[attr-defined]
    assert (newest.action, f'"address":"{address}"' in newest.detail) == ("login", True)


def test_a_certificate_that_cannot_be_used_stops_it_before_it_starts(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    certified, key = certificate
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for transport in (Transport(tmp_path / "missing", key), Transport(broken, key), Transport(certified, certified)):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            transport.check()
    Transport(certified, key).check()


def settings(folder: Path, **api: object) -> Settings:
    return load(None, {"data_dir": str(folder), "api": api})


def test_a_network_is_served_with_a_token_an_account_or_a_provider_and_never_without(tmp_path: Path) -> None:
    check_exposure(settings(tmp_path / "none"))
    for api in ({"host": "0.0.0.0"}, {"host": "0.0.0.0", "token": ""}):
        with pytest.raises(ConfigurationError, match="sightline accounts add"):
            check_exposure(settings(tmp_path, **api))
    provider = {"issuer": "https://idp.example", "client_id": "us", "page": "https://us.example", "roles": {}}
    check_exposure(settings(tmp_path, host="0.0.0.0", token="t" * 20))
    check_exposure(settings(tmp_path, host="0.0.0.0", oidc=provider))
    accounts, _ = open_accounts(settings(tmp_path))
    accounts.add_account(Account("anna", Role.ADMIN, 1.0), None)
    accounts.close()
    check_exposure(settings(tmp_path, host="0.0.0.0"))


def test_the_address_of_the_page_tells_whether_it_speaks_tls(tmp_path: Path) -> None:
    assert page_address(settings(tmp_path)) == "http://127.0.0.1:8000"
    certified = settings(tmp_path, tls_certificate="c.pem", tls_key="k.pem")
    assert page_address(certified) == "https://127.0.0.1:8000"


def test_no_answer_waits_for_an_acknowledgement_of_its_first_piece() -> None:
    with (
        listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
