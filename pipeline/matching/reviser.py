"""Second thoughts after a batch, committed by the only writer of identities. A repeated batch finds what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.contracts import GlobalId, IdentityEvent, TrackletEmbedding
from pipeline.decisions import Decision, Revision
from pipeline.interfaces import GalleryRows
from pipeline.matching.assignment import track_of
from pipeline.matching.people import People
from pipeline.matching.revision import Clash, clashes, merges, parting


class Books(Protocol):
    """What second thoughts ask of the `Store`."""

    def commit_decisions(
        self, decisions: Sequence[Decision], decided_at: float, revisions: Sequence[Revision]
    ) -> list[IdentityEvent]: ...

    def next_global_id(self) -> GlobalId: ...

    def rows_of_identity(self, model_digest: str, global_ids: Sequence[GlobalId], /) -> GalleryRows: ...


def reconsider(people: People, books: Books, seen: Sequence[TrackletEmbedding], decided_at: float) -> None:
    """Part whom the batch `seen` shows to be two, then merge who turn out to be one.

    What is weighed follows from the batch and from what was committed, so that a restarted matcher, to whom the batch
    comes again, does the rest and nothing else. Raises `Unavailable` where a revision does not fit any more.
    """
    tracks = list(dict.fromkeys(track_of(piece) for piece in seen))
    bound: set[Clash] = set()
    while left := [clash for clash in clashes(people, tracks) if clash not in bound]:
        if not _part(people, books, left[0], seen[0].model_digest, decided_at):
            bound.add(left[0])
    touched = [global_id for track in tracks if (global_id := people.tracks.identity(track)) is not None]
    while found := merges(people, touched):
        people.laws.follow(books.commit_decisions((), decided_at, found))
        for revision in found:
            people.merge(revision.to_id, revision.from_id)
        touched = [*touched, *(revision.to_id for revision in found)]


def _part(people: People, books: Books, clash: Clash, model_digest: str, decided_at: float) -> bool:
    """Returns whether the two could be parted."""
    rows = books.rows_of_identity(model_digest, [clash.global_id])
    revision = parting(people, clash, rows, books.next_global_id())
    if revision is None:
        return False
    people.laws.follow(books.commit_decisions((), decided_at, [revision]))
    people.revise([revision], books.rows_of_identity(model_digest, [revision.from_id, revision.to_id]))
    return True
