"""Why a tracklet belongs to its person: the decision with its evidence, what changed since, and what is law."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from pipeline.adapters.correction_store import CorrectionStore
from pipeline.adapters.history import EVENT, event_of
from pipeline.adapters.schema import identity_events, tracklets
from pipeline.adapters.stays import StoredTracklet
from pipeline.contracts import IdentityEvent, TrackletId
from pipeline.decisions import Correction, Evidence


@dataclass(frozen=True, slots=True)
class Reasoned:
    """An event with the evidence for it, if it needed any."""

    event: IdentityEvent
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a tracklet came to its identity."""

    tracklet: StoredTracklet
    decision: Reasoned | None  # None: not decided yet
    changes: tuple[Reasoned, ...]  # merges and splits that moved it since, in order
    laws: tuple[Correction, ...]  # corrections in force that name it
    is_cut: bool = False  # whether more is known than whoever asks may see


class ExplanationStore(CorrectionStore):
    """Questions that begin with why."""

    def explanation(self, tracklet_id: TrackletId) -> Explanation | None:
        """Why a tracklet belongs to its person; None for an unknown one."""
        known = self.tracklets([tracklet_id]).get(tracklet_id)
        if known is None:
            return None
        laws = tuple(law for law in self.open_corrections() if tracklet_id in {*law.one_side, *law.other_side})
        with self._database.reading() as connection:
            events = _events(connection, tracklet_id)
        return Explanation(known, events[0] if events else None, tuple(events[1:]), laws)


def _events(connection: Connection, tracklet_id: TrackletId) -> list[Reasoned]:
    """The decision, and the changes since: followed from person to person, because few events tell of each."""
    columns = select(*EVENT, identity_events.c.evidence)
    is_its_own = (tracklets.c.tracklet_id == tracklet_id) & (tracklets.c.assigned_event == identity_events.c.event_id)
    found: list[Reasoned] = []
    later = connection.execute(columns.join(tracklets, is_its_own)).mappings()
    while row := next((row for row in later if tracklet_id in row["tracklet_ids"]), None):
        evidence = None if row["evidence"] is None else Evidence.model_validate(row["evidence"])
        found.append(Reasoned(event := event_of(row), evidence))
        moves = columns.where(
            identity_events.c.from_global_id == event.global_id, identity_events.c.event_id > event.event_id
        )
        later = connection.execute(moves.order_by(identity_events.c.event_id)).mappings()
    return found
