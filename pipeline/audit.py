"""Who looked at whom and who changed what: entries that vouch for one another, so that none is changed unseen. Pure.

Each entry's hash covers the hash of the one before it and all of its own content. Whoever may write to the database
could still cut off the newest entries, or make the whole chain anew; a `Head` that is kept elsewhere gives that away.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol, Self

from pipeline.errors import ConfigurationError, SightlineError

MAX_ACTOR = 200
MAX_SUBJECT = 400
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class AuditAction(StrEnum):
    """What is recorded."""

    SEARCH = "search"
    VIEW = "view"  # of a person, or of why a tracklet is hers
    EXPORT = "export"
    CORRECTION = "correction"
    ERASURE = "erasure"
    RESEALING = "resealing"  # of the crops, with another key or none
    LOGIN = "login"
    LOGIN_REFUSED = "login refused"
    LOGOUT = "logout"
    ACCOUNT = "account"  # added, changed, removed; its tokens too
    OPERATION = "operation"  # another model wanted, messages sent again, a backup made or put back
    ALERT = "alert"  # a standing query kept, switched, removed; what it raised judged, sent again


class AuditLog(Protocol):
    """Where everything that touches people's privacy is recorded: `AuditStore`; on SQLite in memory in tests."""

    def record(
        self, actor: str, action: AuditAction, subject: str, detail: Mapping[str, Any] | None = None
    ) -> AuditEntry:
        """Add an entry, durable when it returns. `detail` is plain JSON, without secrets, vectors and pictures.

        Raises `Unavailable`: then do not do what could not be recorded."""

    def entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """All after a number, in order."""

    def newest(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """The newest ones with a number below `before`, newest first."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain, or the place before the first."""

    number: int
    digest: str  # SHA-256 in hexadecimal

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """`NUMBER:HASH`, as it is printed. Raises `ConfigurationError`."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise ConfigurationError(
                f"the head {text[:80]!r} cannot be read; expected NUMBER:HASH as `sightline audit head` prints it"
            )
        return cls(int(found[1]), found[2])


START = Head(0, "0" * 64)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did."""

    number: int  # from 1, without gaps
    at: float  # UTC seconds
    actor: str  # the account, the token's owner, or the user of the machine
    action: str
    subject: str  # on whom or what: `person 12`, `camera lobby`, a question
    detail: str  # canonical JSON of an object
    previous: str  # digest of the entry before
    digest: str

    @property
    def head(self) -> Head:
        return Head(self.number, self.digest)

    def line(self) -> str:
        """One line of an export."""
        return _canonical(asdict(self))

    @classmethod
    def of_line(cls, line: str) -> Self:
        """Raises `BrokenChain` for what is no line of an export."""
        try:
            values = json.loads(line)
            entry = cls(**values)
            types = {name: type(getattr(entry, name)) for name in ("number", "detail", "previous", "digest")}
        except (ValueError, TypeError) as error:
            raise BrokenChain(f"{line[:80]!r} is no entry of an audit log") from error
        if types != {"number": int, "detail": str, "previous": str, "digest": str}:
            raise BrokenChain(f"{line[:80]!r} is no entry of an audit log")
        return entry


class BrokenChain(SightlineError):
    """The log was changed after it was written. The message names the first place."""


def next_entry(
    head: Head, at: float, actor: str, action: AuditAction, subject: str, detail: Mapping[str, Any] | None = None
) -> AuditEntry:
    """The entry that follows `head`. Control characters are taken out and long texts cut."""
    entry = AuditEntry(
        number=head.number + 1,
        at=at,
        actor=_clean(actor, MAX_ACTOR),
        action=action.value,
        subject=_clean(subject, MAX_SUBJECT),
        detail=_canonical(dict(detail or {})),
        previous=head.digest,
        digest="",
    )
    return AuditEntry(**asdict(entry) | {"digest": _digest(entry)})


def verified(entries: Iterable[AuditEntry], kept: Head | None = None) -> Head:
    """The head of a whole chain, given from its first entry. Raises `BrokenChain` at the first entry that does not fit.

    `kept` is an earlier head: the chain must lead through it.
    """
    head = START
    for entry in entries:
        if entry.number != head.number + 1:
            raise BrokenChain(f"entry {head.number + 1} is missing: after {head.number} comes {entry.number}")
        if entry.previous != head.digest:
            raise BrokenChain(f"entry {entry.number} does not follow the entry before it: one of the two was replaced")
        if entry.digest != _digest(entry):
            raise BrokenChain(f"entry {entry.number} was changed after it was written")
        head = entry.head
        if kept is not None and kept.number == head.number and kept.digest != head.digest:
            raise BrokenChain(f"entry {head.number} is not the one whose head was kept: the chain was made anew")
    if kept is not None and kept.number > head.number:
        raise BrokenChain(f"the log ends with entry {head.number}, but the head of {kept.number} was kept: it was cut")
    return head


def _digest(entry: AuditEntry) -> str:
    content = {name: value for name, value in asdict(entry).items() if name != "digest"}
    return hashlib.sha256(_canonical(content).encode("ascii")).hexdigest()


def _canonical(value: Mapping[str, Any]) -> str:
    """One text for one value, in ASCII: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _clean(text: str, longest: int) -> str:
    """As every database keeps it."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode("utf-8")[:longest]
