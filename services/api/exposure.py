"""How far the API reaches: to this machine or others, by TLS, through proxies; checked before anything starts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigurationError
from services.api.callers import LOCAL_NAMES
from services.api_settings import ApiSettings
from services.runtime import open_accounts
from services.settings import Settings


@dataclass(frozen=True, slots=True)
class Transport:
    """How requests arrive: by TLS with a certificate and its key; and which proxies are believed about the sender."""

    certificate: Path | None = None
    key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()

    @classmethod
    def of(cls, chosen: ApiSettings) -> Transport:
        return cls(chosen.tls_certificate, chosen.tls_key, chosen.trusted_proxies)

    def check(self) -> None:
        """Raises `ConfigurationError` for a certificate that cannot be used."""
        if self.certificate is None:
            return
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.certificate, self.key)
        except OSError as error:  # SSLError is one
            raise ConfigurationError(
                f"the certificate {self.certificate} with the key {self.key} cannot be used ({error}); expected two "
                "PEM files that belong together and that this user may read, the key without a password"
            ) from error


def check_exposure(settings: Settings) -> None:
    """Whether it may listen where it should, and can speak TLS. Raises `ConfigurationError`."""
    can_log_in = bool(settings.api.token and settings.api.token.get_secret_value()) or settings.api.oidc is not None
    if not can_log_in and settings.api.host not in LOCAL_NAMES:
        accounts, _ = open_accounts(settings)
        can_log_in = accounts.has_accounts()
    require_login_off_localhost(settings.api.host, can_log_in)
    Transport.of(settings.api).check()


def require_login_off_localhost(host: str, can_log_in: bool) -> None:
    """Refuse to listen to a whole network where nobody could be told from anybody. Raises `ConfigurationError`."""
    if not can_log_in and host not in LOCAL_NAMES:
        raise ConfigurationError(
            f"the API would listen on {host!r}, reachable from outside, without a token or an account; expected one of "
            "them or a local address: run `sightline accounts add NAME --role admin`, set SIGHTLINE_API__TOKEN, or "
            "bind to 127.0.0.1"
        )
