"""An identity provider in the test's process: discovery, keys, and a token endpoint that checks what it gets."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

ISSUER = "https://idp.example/site"
PAGE = "https://cameras.example"
CLIENT = "sight:line"
SECRET = "s3cret/of=the client"


@dataclass(slots=True)
class FakeProvider:
    """Vouches for `claims`. A test may let it answer wrongly."""

    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "anna", "groups": ["guards"]})
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    metadata: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=dict)  # claims that replace the right ones
    is_away: bool = False
    algorithm: str = "RS256"
    signs_with: Any = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._answer))

    def visit(self, address: str) -> dict[str, str]:
        """What a browser brings back that was sent to `address` and logged in there."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ISSUER}/authorize"
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert asked["redirect_uri"] == f"{PAGE}/login/callback" and asked["client_id"] == CLIENT
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = str(request.url).removeprefix(ISSUER)
        self.asked.append(path)
        if self.is_away:
            raise httpx.ConnectError("refused")
        if path == "/.well-known/openid-configuration":
            return httpx.Response(200, json=self._metadata())
        if path == "/keys":
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        assert path == "/token" and request.method == "POST"
        return self._token(request)

    def _metadata(self) -> dict[str, Any]:
        endpoints = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {"issuer": ISSUER} | {name: ISSUER + path for name, path in endpoints.items()} | self.metadata

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        expected = base64.b64encode(b"sight%3Aline:s3cret%2Fof%3Dthe%20client").decode()
        begun = self.codes.pop(form["code"], None)  # good once
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        is_right = begun is not None and begun["code_challenge"] == challenge
        if request.headers["authorization"] != f"Basic {expected}" or not is_right:
            return httpx.Response(400, json={"error": "invalid_grant"})
        assert begun is not None and form["redirect_uri"] == begun["redirect_uri"]
        now = int(time.time())
        right = {"iss": ISSUER, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": begun["nonce"]}
        header = {"alg": self.algorithm, "kid": self.key.kid}
        signed = jwt.encode(header, right | self.claims | self.wrong, self.signs_with or self.key, [self.algorithm])
        return httpx.Response(200, json={"id_token": signed, "access_token": "a", "token_type": "Bearer"})
