"""Logging in by an identity provider: OpenID Connect's code flow with PKCE, state and nonce."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from pipeline.accounts import PROVIDER_PREFIX, Role
from pipeline.errors import ConfigurationError, Unavailable
from services.api.callers import is_same, new_secret
from services.api.logins import Vouched, WrongLogin

_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA", "RS384", "RS512", "ES384", "ES512", "PS384", "PS512"]
_LONGEST_ANSWER_S = 10.0
_LONGEST_WAIT_S = 1.0
_AT_ONCE = 4
_LEEWAY_S = 60
_NAME_CHARACTERS = 95
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """Where the provider is, and what its word means here. `page` is the address of this site as browsers see it.

    `name_claim` must be unique and unchangeable at the provider. The highest of the roles that `role_claim` names
    counts; whoever has none is not let in.
    """

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    page: str
    roles: Mapping[str, Role]
    role_claim: str = "groups"  # may lead into objects: realm_access.roles
    name_claim: str = "sub"
    scope: str = "openid profile"


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that has begun: where to send the browser, and what the browser keeps until it comes back."""

    address: str
    state: str
    nonce: str
    verifier: str

    def packed(self) -> str:
        return ".".join((self.state, self.nonce, self.verifier))

    @classmethod
    def unpacked(cls, text: str) -> Self | None:
        parts = text.split(".")
        return cls("", *parts) if len(parts) == 3 and all(parts) else None


class IdentityProvider:
    """One provider. Safe to use from many threads; it is asked for its addresses and keys when they are needed."""

    def __init__(self, config: ProviderConfig, client: httpx.Client | None = None) -> None:
        _require_authlib()
        self._config = config
        self._client = client or httpx.Client(timeout=_LONGEST_ANSWER_S)
        self._asking = threading.BoundedSemaphore(_AT_ONCE)
        self._metadata: dict[str, Any] | None = None
        self._keys: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return urlsplit(self._config.issuer).netloc

    def begin(self) -> Begun:
        """Raises `Unavailable` while the provider does not answer."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        state, nonce, verifier = new_secret(), new_secret(), new_secret()
        address: str = prepare_grant_uri(
            self._known()["authorization_endpoint"],
            client_id=self._config.client_id,
            response_type="code",
            redirect_uri=self._callback,
            scope=self._config.scope,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return Begun(address, state, nonce, verifier)

    def finish(self, begun: Begun | None, code: str, state: str) -> Vouched:
        """Raises `WrongLogin` for what the provider does not vouch for, or what this browser did not begin."""
        if begun is None or not code or not is_same(state, begun.state):
            raise _refused("an answer to no login of this browser")
        token = self._exchanged(code, begun.verifier)
        claims = self._claims(token, begun.nonce)
        role = highest_role(claims, self._config.role_claim, self._config.roles)
        name = claims.get(self._config.name_claim)
        if role is None or not isinstance(name, str) or not 0 < len(name) <= _NAME_CHARACTERS or not name.isprintable():
            raise _refused("somebody without a role here")
        return Vouched(PROVIDER_PREFIX + name, role)

    @property
    def _callback(self) -> str:
        return self._config.page.rstrip("/") + "/login/callback"

    def _exchanged(self, code: str, verifier: str) -> dict[str, Any]:
        """The tokens for a code, which is good once."""
        config = self._config
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "code_verifier": verifier,
        }
        auth = None
        if config.client_secret is None:
            form["client_id"] = config.client_id
        else:
            # RFC 6749, 2.3.1: both are encoded as in a form before they become user and password.
            auth = httpx.BasicAuth(quote(config.client_id, safe=""), quote(config.client_secret, safe=""))
        answer = self._asked("POST", self._known()["token_endpoint"], data=form, auth=auth)
        if "id_token" not in answer:
            raise _refused("an answer without a word about who it is")
        return answer

    def _claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jws, jwt
        from joserfc.errors import InvalidKeyIdError, JoseError
        from joserfc.jwk import KeySet

        registry = jws.JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        known = self._known()
        try:
            try:
                found = jwt.decode(token["id_token"], KeySet.import_key_set(self._key_set()), registry=registry)
            except InvalidKeyIdError:  # the provider has changed its keys
                found = jwt.decode(token["id_token"], KeySet.import_key_set(self._key_set(True)), registry=registry)
            params = {"nonce": nonce, "client_id": self._config.client_id, "access_token": token.get("access_token")}
            options = {"iss": {"values": [known["issuer"]]}, "aud": {"values": [self._config.client_id]}}
            claims = CodeIDToken(found.claims, found.header, options, params)
            claims.validate(leeway=_LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _refused(f"a word of the provider that does not hold ({type(error).__name__})") from None
        return dict(claims)

    def _known(self) -> dict[str, Any]:
        """What the provider tells about itself, asked once."""
        if self._metadata is None:
            issuer = self._config.issuer.rstrip("/")
            metadata = self._asked("GET", f"{issuer}/.well-known/openid-configuration")
            self._metadata = _checked(metadata, issuer)
        return self._metadata

    def _key_set(self, again: bool = False) -> Any:
        if self._keys is None or again:
            self._keys = self._asked("GET", self._known()["jwks_uri"])
        return self._keys

    def _asked(self, method: str, address: str, **options: Any) -> dict[str, Any]:
        # A provider that hangs must not hold all the threads that answer other requests.
        if not self._asking.acquire(timeout=_LONGEST_WAIT_S):
            raise Unavailable(f"too many logins wait for the identity provider {self.name}; try again in a moment")
        try:
            response = self._client.request(method, address, **options)
            if 400 <= response.status_code < 500 and method == "POST":
                raise _refused("a code that the provider does not accept")
            response.raise_for_status()
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(
                f"the identity provider {self.name} does not answer as one ({type(error).__name__}); is "
                "api.oidc.issuer right, and can it be reached from here?"
            ) from None
        finally:
            self._asking.release()
        if not isinstance(answer, dict):
            raise Unavailable(f"the identity provider {self.name} answers with {type(answer).__name__}; expected JSON")
        return answer


def highest_role(claims: Mapping[str, Any], path: str, roles: Mapping[str, Role]) -> Role | None:
    """The highest role that a claim names, as text or as a list; None for none. Pure."""
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    found = [roles[name] for name in named if isinstance(name, str) and name in roles]
    return max(found, key=list(Role).index, default=None)


def _checked(metadata: dict[str, Any], issuer: str) -> dict[str, Any]:
    """Another issuer, or an address without the issuer's encryption, is no answer of this provider."""
    scheme = urlsplit(issuer).scheme
    addresses = [metadata.get(name) for name in _ENDPOINTS]
    is_safe = all(isinstance(each, str) and urlsplit(each).scheme in (scheme, "https") for each in addresses)
    if str(metadata.get("issuer", "")).rstrip("/") != issuer or not is_safe:
        raise Unavailable(
            f"the identity provider at {issuer} tells of another issuer, or of addresses that are not {scheme}; "
            "correct api.oidc.issuer"
        )
    return metadata


def _refused(found: str) -> WrongLogin:
    return WrongLogin(found, "a login that the identity provider vouches for", "begin again at /login")


def _require_authlib() -> None:
    try:
        import authlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "api.oidc is set, but authlib is not installed; pip install 'sightline[oidc]'"
        ) from error
