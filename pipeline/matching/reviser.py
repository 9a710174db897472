"""Second thoughts after a batch, committed by the only writer of identities. A repeated batch finds what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.contracts import GlobalId, IdentityEvent, TrackletEmbedding
from pipeline.decisions import Decision, Revision
from pipeline.kept import GalleryRows
from pipeline.matching.assignment import track_of
from pipeline.matching.evidence import TrackKey
from pipeline.matching.parting import Clash, clashes, divided, division, doubtful, parting
from pipeline.matching.people import People
from pipeline.matching.revision import merges

_SEEN_ANEW = 512  # identities


class Books(Protocol):
    """What second thoughts ask of the `Store`."""

    def commit_decisions(
        self, decisions: Sequence[Decision], decided_at: float, revisions: Sequence[Revision]
    ) -> list[IdentityEvent]: ...

    def next_global_id(self) -> GlobalId: ...

    def rows_of_identity(self, model_digest: str, global_ids: Sequence[GlobalId], /) -> GalleryRows: ...


def reconsider(
    people: People, books: Books, seen: Sequence[TrackletEmbedding], decided_at: float
) -> list[IdentityEvent]:
    """Part whom the batch `seen` shows to be two, then merge who turn out to be one; returns the events of that.

    What is weighed follows from the batch and from what was committed, so that a restarted matcher, to whom the batch
    comes again, does the rest and nothing else. Raises `Unavailable` where a revision does not fit any more.
    """
    tracks = list(dict.fromkeys(track_of(piece) for piece in seen))
    digest = seen[0].model_digest
    events: list[IdentityEvent] = []
    bound: set[Clash] = set()
    while left := [clash for clash in clashes(people, tracks) if clash not in bound]:
        rows = books.rows_of_identity(digest, [left[0].global_id])
        parted = _part(people, books, parting(people, left[0], rows, books.next_global_id()), digest, decided_at)
        if parted is None:
            bound.add(left[0])
        events += parted or ()
    for global_id in doubtful(people, _identities(people, tracks)):
        if (found := division(people, global_id)) is not None:
            rows = books.rows_of_identity(digest, [global_id])
            parted = _part(people, books, divided(people, found, rows, books.next_global_id()), digest, decided_at)
            events += parted or ()
    touched = [*_identities(people, tracks), *_seen_anew(people, len(seen))]
    while joined := merges(people, touched):
        merged = books.commit_decisions((), decided_at, joined)
        people.laws.follow(merged)
        people.merge(joined)
        events += merged
        touched = [*touched, *(revision.to_id for revision in joined)]
    return events


def _seen_anew(people: People, batch: int) -> list[GlobalId]:
    """Who was seen lately, if something was learnt just before this batch.

    Who went before the site was known was weighed badly, and may never come again.
    """
    if people.tracklets - people.calibration.tracklets > batch:
        return []
    return [GlobalId(number) for number in people.identities.newest(_SEEN_ANEW).tolist()]


def _identities(people: People, tracks: Sequence[TrackKey]) -> list[GlobalId]:
    """Of tracks, as far as they are remembered; ascending."""
    found = {people.tracks.identity(track) for track in tracks}
    return sorted(global_id for global_id in found if global_id is not None and global_id in people.identities)


def _part(
    people: People, books: Books, revision: Revision | None, model_digest: str, decided_at: float
) -> list[IdentityEvent] | None:
    """The events of a parting; None where there is nothing to part."""
    if revision is None:
        return None
    events = books.commit_decisions((), decided_at, [revision])
    people.laws.follow(events)
    people.revise([revision], books.rows_of_identity(model_digest, [revision.from_id, revision.to_id]))
    return events
