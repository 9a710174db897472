"""Camera addresses: read once, and shown only without the credentials in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import ConfigurationError

HIDDEN = "***"
FILE_SCHEME = "file"
SIMULATED_SCHEME = "simulated"
EXPECTED_FILES = "a readable video (mp4, mkv, avi, ts, .264, .265, .mjpeg)"
_SHORTEST_SECRET = 3  # hiding shorter ones would blank out half of any sentence

# Up to the last @, beyond any slash: a password may hold one. A path with an @ is shown too short.
_USERINFO = re.compile(r"(?<=://)[^\s\"]*@")
# Many cameras take the password in the path or the query: /user=admin_password=secret_channel=1, ?token=…
_PARAMETER = re.compile(r"(?i)((?:pass\w*|pwd|token|secret|api_?key|auth|signature|sig)=)[^&;/\s'\"]+")


@dataclass(frozen=True, slots=True)
class CameraAddress:
    """Where the frames of a camera come from. Only `public` may be shown; `repr` holds nothing else."""

    scheme: str
    url: str = field(repr=False)  # with the credentials: for the decoder alone
    public: str

    @property
    def is_file(self) -> bool:
        return self.scheme == FILE_SCHEME

    @property
    def host_and_port(self) -> tuple[str, int | None]:
        """For the schemes that have a server; port None means the scheme's own."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port

    def without_secrets(self, text: str) -> str:
        """`text` (an error of a library, say) with everything hidden that this address keeps secret."""
        text = text.replace(self.url, self.public)
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return redact(text)

    def _secrets(self) -> set[str]:
        parts = urlsplit(self.url)
        named = [match.group(0).partition("=")[2] for match in _PARAMETER.finditer(self.url)]
        found = [part for part in (parts.password, *named) if part]
        return {form for part in found for form in (part, unquote(part)) if len(form) >= _SHORTEST_SECRET}


def parse_address(text: str) -> CameraAddress:
    """An operator's text as an address; anything without `://` is the path of a file.

    Raises `ConfigurationError` for a network address without a host or with an unreadable port. The text itself is not
    repeated in the error, because a password may stand in it.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return CameraAddress(FILE_SCHEME, text, text)
    scheme = scheme.lower()
    if scheme == FILE_SCHEME:
        return CameraAddress(FILE_SCHEME, unquote(rest), unquote(rest))
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for a port that is no number
    except ValueError as error:
        raise ConfigurationError(
            f"an address that begins with {scheme}:// has an unreadable host or port; "
            "write / ? # @ : inside a password as %2F %3F %23 %40 %3A"
        ) from error
    if not parts.hostname and scheme != SIMULATED_SCHEME:
        raise ConfigurationError(f"an address that begins with {scheme}:// has no host; expected {scheme}://host/path")
    return CameraAddress(scheme, text, redact(text))


def redact(text: str) -> str:
    """Any text with the credentials of the addresses in it hidden: `rtsp://user:pass@host` → `rtsp://host`."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USERINFO.sub("", text))


def check_file(address: CameraAddress) -> None:
    """Raises `ConfigurationError` if a file is asked for that is missing, empty or a folder."""
    if not address.is_file:
        return
    path = Path(address.url)
    if not path.exists():
        found = "does not exist"
    elif path.is_dir():
        found = "is a folder"
    elif path.is_file() and path.stat().st_size == 0:
        found = "is empty"
    else:
        return
    raise ConfigurationError(f"{address.public} {found}; expected {EXPECTED_FILES}")
