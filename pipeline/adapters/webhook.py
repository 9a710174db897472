"""Telling a webhook: one signed POST to an address that was looked at before it is connected to; no redirects."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.errors import ConfigurationError, Unavailable

CONNECT_S = 5.0
LONGEST_S = 15.0  # for everything, however slowly an answer drips
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]  # a host and port to IP addresses


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """Who is told. `address` and `secret` are secrets: they stand in no log, error or answer."""

    name: str
    address: str
    secret: bytes
    allows_private: bool = False  # addresses inside the network of this machine

    @property
    def host(self) -> str:
        """For people."""
        return urlsplit(self.address).hostname or ""


def check_address(address: str) -> None:
    """Raises `ConfigurationError` for what cannot be the address of a webhook; it is not quoted."""
    try:
        parts = urlsplit(address)
        is_right = parts.scheme in _PORTS and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right or any(ord(letter) <= 32 or ord(letter) >= 127 for letter in address):
        raise ConfigurationError(
            "the address of a webhook cannot be used; expected http(s)://host/path in plain ASCII, without a user"
        )


def signature(secret: bytes, sent_at: int, body: bytes) -> str:
    """What a receiver computes again: HMAC-SHA256 over `SENT_AT.BODY`, in hexadecimal."""
    return hmac.new(secret, f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host as this machine finds them. Raises `OSError`."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to nobody's inner network; one that hides an IPv4 address is judged by that."""
    return all(each.is_global and not each.is_multicast for each in _meant(address))


def tell(target: WebhookTarget, body: bytes, delivery_id: str, now: float, resolve: Resolve = resolved) -> None:
    """POST `body` as JSON, signed, with the clock's UTC seconds `now`.

    Raises `Unavailable`, which names no secret, for any answer but success.
    """
    parts = urlsplit(target.address)
    sent_at = int(now)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Sightline",
        "Sightline-Delivery": delivery_id,
        "Sightline-Timestamp": str(sent_at),
        "Sightline-Signature": f"sha256={signature(target.secret, sent_at, body)}",
    }
    host, port = target.host, parts.port or _PORTS[parts.scheme]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = _Connection(host, port, _allowed(target, resolve(host, port)), parts.scheme == "https")
        status = _post(connection, path, body, headers)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        # Not the error's own words: they may quote the address.
        raise Unavailable(f"webhook {target.name} at {host} does not answer ({type(error).__name__})") from None
    if not 200 <= status < 300:
        is_elsewhere = 300 <= status < 400
        raise Unavailable(
            f"webhook {target.name} at {host} answers with status {status}; expected 200 to 299"
            + (": redirects are not followed, give its final address" if is_elsewhere else "")
        )


def _allowed(target: WebhookTarget, addresses: list[str]) -> list[str]:
    allowed = [address for address in addresses if target.allows_private or is_public(address)]
    if not allowed:
        raise Unavailable(
            f"webhook {target.name} at {target.host} has no public address; expected one, or that "
            f"alerts.webhooks.{target.name}.allow_private is set"
        )
    return allowed


def _meant(address: str) -> list[IpAddress]:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return [found]
    if found.ipv4_mapped is not None:
        return [found.ipv4_mapped]
    if found in _NAT64:
        return [found, ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)]
    return [found] if found.sixtofour is None else [found, found.sixtofour]


class _Connection(http.client.HTTPConnection):
    """Connects to addresses that were looked at, never to whatever the name means a moment later."""

    def __init__(self, host: str, port: int, addresses: list[str], is_encrypted: bool) -> None:
        super().__init__(host, port, timeout=CONNECT_S)
        self._addresses = addresses
        self._is_encrypted = is_encrypted

    def connect(self) -> None:
        problem: OSError | None = None
        for address in self._addresses:
            try:
                self.sock = socket.create_connection((address, self.port), CONNECT_S)
                break
            except OSError as error:
                problem = error
        else:
            raise problem or OSError("no address")
        if self._is_encrypted:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)


def _post(connection: _Connection, path: str, body: bytes, headers: Mapping[str, str]) -> int:
    try:
        connection.connect()
        with _cut_off(connection.sock):
            if isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.do_handshake()
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def _cut_off(opened: socket.socket) -> Iterator[None]:
    """End the connection after `LONGEST_S`: a timeout of the socket begins anew with every byte."""

    def cut() -> None:
        with suppress(OSError):
            socket.socket.shutdown(opened, socket.SHUT_RDWR)  # below TLS, which another thread may be reading

    timer = threading.Timer(LONGEST_S, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
