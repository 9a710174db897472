"""Second thoughts after a batch, committed by the only writer of identities. A repeated batch finds what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.contracts import GlobalId, IdentityEventKind, TrackletEmbedding
from pipeline.decisions import Revision
from pipeline.interfaces import Clock, GalleryRows, Store
from pipeline.matching.assignment import TRACK_CONFIDENCE, track_of
from pipeline.matching.people import People, tracks_of
from pipeline.matching.revision import Clash, clashes, merges


def reconsider(people: People, store: Store, clock: Clock, seen: Sequence[TrackletEmbedding]) -> None:
    """Part whom the batch `seen` shows to be two, then merge who turn out to be one.

    What is weighed follows from the batch and from what was committed, so that a restarted matcher, to whom the batch
    comes again, does the rest and nothing else. Raises `Unavailable` where a revision does not fit any more.
    """
    tracks = list(dict.fromkeys(track_of(piece) for piece in seen))
    for clash in clashes(people, tracks):
        _part(people, store, clock, clash, seen[0].model_digest)
    touched = [global_id for track in tracks if (global_id := people.tracks.identity(track)) is not None]
    while found := merges(people, touched):
        people.laws.follow(store.commit_decisions((), clock.now(), found))
        for revision in found:
            people.merge(revision.to_id, revision.from_id)
        touched = [*touched, *(revision.to_id for revision in found)]


def _part(people: People, store: Store, clock: Clock, clash: Clash, model_digest: str) -> None:
    rows = store.rows_of_identity(model_digest, [clash.global_id])
    revision = parting(people, clash, rows, store.next_global_id())
    if revision is not None:
        people.laws.follow(store.commit_decisions((), clock.now(), [revision]))
        people.revise([revision], store.rows_of_identity(model_digest, [revision.from_id, revision.to_id]))


def parting(people: People, clash: Clash, rows: GalleryRows, new_id: GlobalId) -> Revision | None:
    """The track that came later becomes somebody new; None where a correction binds it, or nothing is left to part.

    `rows` is what the person has.
    """
    names = dict(zip(rows.tracklet_ids, tracks_of(rows), strict=True))
    leaving = frozenset(name for name, track in names.items() if track == clash.leaving)
    staying = frozenset(names) - leaving
    if not leaving or not staying or people.laws.inseparable(leaving) & staying:
        return None
    camera_id, _, number = clash.leaving
    return Revision(
        kind=IdentityEventKind.SPLIT,
        from_id=clash.global_id,
        to_id=new_id,
        confidence=TRACK_CONFIDENCE,
        reason=(
            f"track {number} of {camera_id} is not person {clash.global_id}, who was there in track {clash.staying[2]} "
            "at the same time"
        ),
        tracklet_ids=tuple(name for name in rows.tracklet_ids if name in leaving),
        is_new=True,
    )
