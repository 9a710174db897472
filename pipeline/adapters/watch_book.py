"""The database as the watcher sees it: who was decided since, and the alerts that come of it, each exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, func, select

from pipeline.adapters.counters import advance, counted, locked, shared
from pipeline.adapters.database import Database, in_parts
from pipeline.adapters.gallery_pages import vector_matrix
from pipeline.adapters.model_changes import IS_DECIDED, IS_IN_TIME
from pipeline.adapters.schema import alerts, embeddings, model_switches, standing_queries, tracklets, webhook_deliveries
from pipeline.adapters.standing_book import read_queries
from pipeline.adapters.verdict_store import read_verdicts
from pipeline.contracts import CameraId, GlobalId, TrackletId
from pipeline.search.alerts import BUDGET_S, JUDGED_S, Hit, Passers, Place
from pipeline.search.feedback import Verdict
from pipeline.search.standing import AlertState, StandingQuery
from pipeline.search.watching import Page, Raised

_SEEN = (
    tracklets.c.assigned_event,
    tracklets.c.global_id,
    tracklets.c.camera_id,
    tracklets.c.started_at,
    tracklets.c.ended_at,
    tracklets.c.tracklet_id,
    embeddings.c.language,
)


class WatchBook:
    """`WatchedSite` over SQLite or PostgreSQL.

    A place in the order of decisions is kept in the database, and moves in the transaction that keeps the alerts: what
    lies before it is done with, what lies after it has raised nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self) -> tuple[int, int, list[StandingQuery]]:
        """The number of the last change of what they go by, the kept place, and all standing queries, at one moment."""
        with self._database.reading() as connection:
            return counted(connection, "standing_change"), counted(connection, "watched"), read_queries(connection)

    def last_change(self) -> int:
        with self._database.reading() as connection:
            return counted(connection, "standing_change")

    def verdicts(self, model_digest: str, limit: int) -> list[Verdict]:
        """What people said about answers of a model, the last first."""
        with self._database.reading() as connection:
            return read_verdicts(connection, model_digest, limit)

    def serving_model(self) -> str | None:
        """The digest of the model that serves; None before the first."""
        query = select(model_switches.c.model_digest).order_by(model_switches.c.number.desc()).limit(1)
        with self._database.reading() as connection:
            digest: str | None = connection.execute(query).scalar_one_or_none()
        return digest

    def first_event(self, since_at: float) -> int:
        """The place before the first decision about a tracklet that ended at or after a moment; else the last place."""
        query = select(func.min(tracklets.c.assigned_event)).where(tracklets.c.ended_at >= since_at)
        with self._database.reading() as connection:
            first = connection.execute(query).scalar_one()
            return counted(connection, "event_id") if first is None else int(first) - 1

    def page(self, model_digest: str, after_event: int, limit: int) -> Page:
        """What was decided after an event, with what was seen of the same people within the time that counts."""
        is_its_vector = and_(
            embeddings.c.tracklet_id == tracklets.c.tracklet_id, embeddings.c.model_digest == model_digest
        )
        # An outer join begins with the tracklets asked for; an inner one goes through all vectors of the model.
        seen = select(*_SEEN).select_from(tracklets).outerjoin(embeddings, is_its_vector & IS_IN_TIME).where(IS_DECIDED)
        decided = seen.where(tracklets.c.assigned_event > after_event)
        earlier = seen.where(tracklets.c.assigned_event <= after_event)
        with self._database.reading() as connection:
            change = counted(connection, "standing_change")
            found = connection.execute(decided.order_by(tracklets.c.assigned_event).limit(limit)).all()
            fresh = [row for row in found if row.language is not None]
            before: list[Any] = []
            if fresh:
                recent = earlier.where(tracklets.c.started_at >= min(row.ended_at for row in fresh) - JUDGED_S)
                for part in in_parts(sorted({row.global_id for row in fresh})):
                    same = connection.execute(recent.where(tracklets.c.global_id.in_(part)))
                    before += [row for row in same if row.language is not None]
        before.sort(key=lambda row: int(row.assigned_event))
        return Page(
            passers=_passers(before, fresh, model_digest),
            change=change,
            up_to_event=found[-1].assigned_event if found else after_event,
            decided=len(found),
        )

    def raised(self, found: Sequence[Hit]) -> Raised:
        """The alerts that there are of the same queries and people, and what rang within a day of these."""
        if not found:
            return Raised((), ())
        with self._database.reading() as connection:
            return Raised(_places(connection, found), _rang(connection, found))

    def keep(
        self, found: Sequence[tuple[Hit, bool]], webhooks: Sequence[str], kept_place: int, place: int, raised_at: float
    ) -> bool:
        """Write alerts (each with whether it rings), what webhooks must be told, and the new place, in one transaction.

        False, and nothing is written, if somebody else has moved the place from `kept_place` on.
        """
        with self._database.writing() as connection:
            shared(connection, "erasure")  # what is still there stays there until the end
            if locked(connection, "watched") != kept_place:
                return False
            shared(connection, "erasure")  # whose tracklet is still there stays there until this is written
            last = locked(connection, "alert")
            numbered = list(enumerate(_still_there(connection, found), start=last + 1))
            if numbered:
                rows = [_alert_row(number, hit, rings, raised_at) for number, (hit, rings) in numbered]
                connection.execute(alerts.insert(), rows)
                advance(connection, "alert", last + len(numbered))
            told = [number for number, (_, rings) in numbered if rings]
            if told and webhooks:
                connection.execute(webhook_deliveries.insert(), _delivery_rows(told, webhooks, raised_at))
            advance(connection, "watched", place)
        return True


def _still_there(connection: Connection, found: Sequence[tuple[Hit, bool]]) -> list[tuple[Hit, bool]]:
    """Without those whose tracklet was erased, or whose query was removed, since they were found."""
    seen, asked = [hit.tracklet_id for hit, _ in found], sorted({hit.query.number for hit, _ in found})
    there: set[str | int] = set()
    for column, named in ((tracklets.c.tracklet_id, seen), (standing_queries.c.number, asked)):
        for part in in_parts(named):
            there |= set(connection.execute(select(column).where(column.in_(part))).scalars())
    return [(hit, rings) for hit, rings in found if hit.tracklet_id in there and hit.query.number in there]


def _places(connection: Connection, found: Sequence[Hit]) -> tuple[tuple[Place, float], ...]:
    window_s = max(hit.query.request.window_s for hit in found)
    query = (
        select(alerts.c.query_number, tracklets.c.global_id, tracklets.c.camera_id, alerts.c.seen_at)
        .join(tracklets, tracklets.c.tracklet_id == alerts.c.tracklet_id)
        .where(
            alerts.c.seen_at > min(hit.ended_at for hit in found) - window_s,
            alerts.c.seen_at < max(hit.ended_at for hit in found) + window_s,
        )
    )
    raised: list[tuple[Place, float]] = []
    for part in in_parts(sorted({hit.global_id for hit in found})):
        for number, global_id, camera_id, seen_at in connection.execute(query.where(tracklets.c.global_id.in_(part))):
            raised.append(((number, GlobalId(global_id), CameraId(camera_id)), seen_at))
    return tuple(raised)


def _rang(connection: Connection, found: Sequence[Hit]) -> tuple[tuple[int, float], ...]:
    query = select(alerts.c.query_number, alerts.c.seen_at).where(
        alerts.c.is_quiet.is_(False), alerts.c.seen_at > min(hit.ended_at for hit in found) - BUDGET_S
    )
    rang: list[tuple[int, float]] = []
    for part in in_parts(sorted({hit.query.number for hit in found})):
        rang += [(number, at) for number, at in connection.execute(query.where(alerts.c.query_number.in_(part)))]
    return tuple(rang)


def _passers(before: Sequence[Any], fresh: Sequence[Any], model_digest: str) -> Passers:
    rows = [*before, *fresh]
    return Passers(
        events=np.array([row.assigned_event for row in rows], np.int64),
        global_ids=np.array([row.global_id for row in rows], np.int64),
        camera_ids=[CameraId(row.camera_id) for row in rows],
        started_at=np.array([row.started_at for row in rows], np.float64),
        ended_at=np.array([row.ended_at for row in rows], np.float64),
        tracklet_ids=[TrackletId(row.tracklet_id) for row in rows],
        vectors=vector_matrix([row.language for row in rows], model_digest).astype(np.float32),
        fresh=len(fresh),
    )


def _alert_row(number: int, hit: Hit, rings: bool, raised_at: float) -> dict[str, Any]:
    return {
        "number": number,
        "query_number": hit.query.number,
        "tracklet_id": hit.tracklet_id,
        "seen_at": hit.ended_at,
        "raised_at": raised_at,
        "margin": hit.margin,
        "confidence": hit.confidence,
        "is_quiet": not rings,
        "state": AlertState.OPEN.value,
    }


def _delivery_rows(numbers: Sequence[int], webhooks: Sequence[str], due_at: float) -> list[dict[str, Any]]:
    return [
        {"alert_number": number, "webhook": name, "state": "waiting", "attempts": 0, "due_at": due_at, "problem": ""}
        for number in numbers
        for name in webhooks
    ]
