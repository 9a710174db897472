"""What an operator can set about the API and the page."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pipeline.accounts import Role


class OtherSiteSettings(BaseModel):
    """Where the API of another site answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    token: SecretStr | None = None


class OidcSettings(BaseModel):
    """An identity provider, by OpenID Connect; needs the extra `oidc`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, Field(pattern=r"^https://[^\s@]+$|^http://(localhost|127\.0\.0\.1)[:/]?\S*$")]
    client_id: str
    client_secret: SecretStr | None = None  # none: a public client, with PKCE alone
    page: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]  # the address of this page, as browsers see it
    roles: dict[str, Role]  # value of the claim → role; whoever has none is not let in
    role_claim: str = "groups"  # may lead into objects: realm_access.roles
    name_claim: str = "sub"  # must be unique and unchangeable there
    scope: str = "openid profile"


class ApiSettings(BaseModel):
    """The HTTP API and the page. Off localhost it wants a token, an account (`sightline accounts`), or `oidc`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000  # 0: any free port
    token: SecretStr | None = None  # an admin's
    session_h: Annotated[float, Field(gt=0, le=720)] = 12.0  # after that one logs in again
    search_reason: bool = False  # whether each search must say why; the audit log keeps it
    open_metrics: bool = False  # whether /metrics answers without a login
    tls_certificate: Path | None = None  # PEM, with the chain; with tls_key the page speaks HTTPS
    tls_key: Path | None = None
    # Addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
    trusted_proxies: tuple[str, ...] = ()
    oidc: OidcSettings | None = None
    other_sites: dict[str, OtherSiteSettings] = {}  # by name; asked for people who look like one of this site

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"{proxy!r} is no address or network; give one as 10.0.0.2 or 10.0.0.0/24") from error
        return proxies

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("of tls_certificate and tls_key only one is set; set both for HTTPS, or none")
        return self
