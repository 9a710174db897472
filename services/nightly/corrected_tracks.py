"""Tracks as people have corrected them: whom a tracker took for one is parted, and who came back is one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.adapters.stays import StoredTracklet
from pipeline.contracts import GlobalId, TrackletId
from pipeline.decisions import Correction, CorrectionKind

_UNITES = (CorrectionKind.MERGE, CorrectionKind.SAME)


def corrected_tracks(tracklets: Sequence[StoredTracklet], laws: Sequence[Correction]) -> dict[TrackletId, str]:
    """The name of the track of each tracklet, `camera/boot/track` where no correction in force says otherwise.

    Pieces of a track that a correction keeps apart are told apart by their persons. Tracks of one camera that
    corrections gave to one person share the name that comes first. Nothing else that the matcher believes counts: it
    may be wrong, and a model would learn that.
    """
    apart = [law for law in laws if law.request.kind not in _UNITES]
    cut = {track for law in apart for track in _tracks(law.one_side) & _tracks(law.other_side)}
    named = {
        each.tracklet_id: f"{track}~{each.global_id}" if (track := _track(each.tracklet_id)) in cut else track
        for each in tracklets
    }
    persons: dict[str, set[GlobalId | None]] = {}
    for each in tracklets:
        persons.setdefault(named[each.tracklet_id], set()).add(each.global_id)
    vouched = {track for law in laws if law.request.kind in _UNITES for track in _tracks(law.one_side + law.other_side)}
    united: dict[tuple[str, GlobalId], set[str]] = {}
    for each in tracklets:
        name = named[each.tracklet_id]
        if _track(each.tracklet_id) in vouched and each.global_id is not None and len(persons[name]) == 1:
            united.setdefault((each.camera_id, each.global_id), set()).add(name)
    first = {name: min(names) for names in united.values() for name in names}
    return {tracklet_id: first.get(name, name) for tracklet_id, name in named.items()}


def _tracks(tracklet_ids: Iterable[TrackletId]) -> set[str]:
    return {_track(tracklet_id) for tracklet_id in tracklet_ids}


def _track(tracklet_id: TrackletId) -> str:
    return tracklet_id.rpartition("/")[0]
