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
class Explanation:
    """How a tracklet came to its identity."""

    tracklet: StoredTracklet
    decision: IdentityEvent | None  # None: not decided yet
    evidence: Evidence | None  # None: the decision needed none, or was made before any was kept
    changes: tuple[IdentityEvent, ...]  # merges and splits that moved it since, in order
    laws: tuple[Correction, ...]  # corrections in force that name it


class ExplanationStore(CorrectionStore):
    """Questions that begin with why."""

    def explanation(self, tracklet_id: TrackletId) -> Explanation | None:
        """Why a tracklet belongs to its person; None for an unknown one."""
        known = self.tracklets([tracklet_id]).get(tracklet_id)
        if known is None:
            return None
        laws = tuple(law for law in self.open_corrections() if tracklet_id in {*law.one_side, *law.other_side})
        with self._database.reading() as connection:
            is_its_own = (tracklets.c.tracklet_id == tracklet_id) & (
                tracklets.c.assigned_event == identity_events.c.event_id
            )
            query = select(*EVENT, identity_events.c.evidence).join(tracklets, is_its_own)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return Explanation(known, None, None, (), laws)
            decision = event_of(row)
            return Explanation(
                tracklet=known,
                decision=decision,
                evidence=None if row["evidence"] is None else Evidence.model_validate(row["evidence"]),
                changes=_changes(connection, tracklet_id, decision),
                laws=laws,
            )


def _changes(connection: Connection, tracklet_id: TrackletId, decision: IdentityEvent) -> tuple[IdentityEvent, ...]:
    """Followed from person to person, because few events tell of each."""
    found: list[IdentityEvent] = []
    event: IdentityEvent | None = decision
    while event is not None:
        query = (
            select(*EVENT)
            .where(identity_events.c.from_global_id == event.global_id, identity_events.c.event_id > event.event_id)
            .order_by(identity_events.c.event_id)
        )
        later = (event_of(row) for row in connection.execute(query).mappings())
        event = next((one for one in later if tracklet_id in one.tracklet_ids), None)
        found += [event] if event else []
    return tuple(found)
