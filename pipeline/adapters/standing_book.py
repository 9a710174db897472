"""Standing queries and their alerts in the database, as people use them: keep, switch, read, judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, select, update

from pipeline.adapters.counters import advance, counted, locked
from pipeline.adapters.database import Database, in_parts
from pipeline.adapters.schema import alerts, crops, standing_queries, tracklets
from pipeline.contracts import BlobKey, CameraId, GlobalId, TrackletId
from pipeline.errors import InvalidQuery
from pipeline.search.alerts import Judged, needed_margin, tightened
from pipeline.search.standing import (
    MOST_QUERIES,
    Alert,
    AlertState,
    StandingQuery,
    StandingRequest,
    Trial,
)

_ALERT = (
    alerts.c.number,
    alerts.c.query_number,
    standing_queries.c.name,
    standing_queries.c.question,
    alerts.c.tracklet_id,
    tracklets.c.global_id,
    tracklets.c.camera_id,
    tracklets.c.started_at,
    tracklets.c.ended_at,
    alerts.c.raised_at,
    alerts.c.margin,
    alerts.c.confidence,
    alerts.c.is_quiet,
    alerts.c.state,
    alerts.c.judged_by,
    alerts.c.judged_at,
)


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts: of one query, in one state, of one person; None asks for all."""

    query_number: int | None = None
    state: AlertState | None = None
    global_id: GlobalId | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        asked = (
            (alerts.c.query_number, self.query_number),
            (alerts.c.state, self.state and self.state.value),
            (tracklets.c.global_id, self.global_id),
        )
        return [column == value for column, value in asked if value is not None]


class StandingBook:
    """What API and command line do with standing queries. Safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- queries ------------------------------

    def add(self, request: StandingRequest, made_at: float) -> int:
        """Keep a query, which is off at first, and return its number. Raises `InvalidQuery` for one that cannot stand,
        and when there are too many."""
        request.check()
        with self._database.writing() as connection:
            number = locked(connection, "standing_query") + 1
            if connection.execute(select(func.count()).select_from(standing_queries)).scalar_one() >= MOST_QUERIES:
                raise InvalidQuery(
                    f"there are {MOST_QUERIES} standing queries", "fewer", "remove those that are not needed any more"
                )
            row = {
                "number": number,
                "question": request.question,
                "name": request.name,
                "made_by": request.made_by,
                "made_at": made_at,
                "camera_ids": list(request.camera_ids),
                "window_s": request.window_s,
                "daily_budget": request.daily_budget,
                "margin": 0.0,
            }
            connection.execute(standing_queries.insert(), row)
            advance(connection, "standing_query", number)
        return number

    def queries(self) -> list[StandingQuery]:
        """All of them, by number."""
        with self._database.reading() as connection:
            return read_queries(connection)

    def query(self, number: int) -> StandingQuery:
        """One of them. Raises `UnknownStandingQuery`."""
        with self._database.reading() as connection:
            return _query(connection, number)

    def note_test(self, number: int, note: Trial) -> None:
        """Keep what the last back-test found."""
        self._change(number, tested_at=note.tested_at, tested_days=note.days, tested_fired=note.fired)

    def switch_on(self, number: int) -> None:
        """From now on: for whatever is decided after this moment. One that is on stays as it is."""
        with self._changing() as connection:
            if _query(connection, number).on_after is None:
                # It is locked: nobody decides anything between this number and the end of the transaction.
                _update(connection, number, on_after=counted(connection, "event_id"))

    def switch_off(self, number: int) -> None:
        self._change(number, on_after=None)

    def remove(self, number: int) -> None:
        """Forget a query with all its alerts."""
        with self._changing() as connection:
            _query(connection, number)
            connection.execute(delete(standing_queries).where(standing_queries.c.number == number))

    # --- alerts ------------------------------

    def alerts(self, only: AlertFilter, limit: int, before: int | None = None) -> list[Alert]:
        """The newest, newest first; those below number `before`."""
        query = _alerts().where(*only.conditions()).order_by(alerts.c.number.desc()).limit(limit)
        return self._alerts(query if before is None else query.where(alerts.c.number < before))

    def alerts_after(self, number: int, limit: int) -> list[Alert]:
        """Those above a number, oldest first. Following the numbers misses nothing."""
        return self._alerts(_alerts().where(alerts.c.number > number).order_by(alerts.c.number).limit(limit))

    def alert(self, number: int) -> Alert:
        """One of them. Raises `UnknownAlert`."""
        found = self._alerts(_alerts().where(alerts.c.number == number))
        if not found:
            raise UnknownAlert(number)
        return found[0]

    def last_alert(self) -> int:
        """The number of the newest, 0 before the first."""
        with self._database.reading() as connection:
            return counted(connection, "alert")

    def judge(self, number: int, state: AlertState, by: str, at: float, false_alarm_budget: float) -> None:
        """Acknowledge an alert or call it a false alarm, which tightens its query, at once and for ever.

        To acknowledge what was called a false alarm takes that back, and what it taught. Raises `UnknownAlert`.
        """
        with self._changing() as connection:
            before = connection.execute(
                select(alerts.c.state, alerts.c.query_number).where(alerts.c.number == number)
            ).one_or_none()
            if before is None:
                raise UnknownAlert(number)
            if before.state == state.value:
                return
            values = {"state": state.value, "judged_by": by, "judged_at": at}
            connection.execute(update(alerts).where(alerts.c.number == number).values(values))
            self._learn(connection, before.query_number, AlertState(before.state), state, false_alarm_budget)

    def _learn(self, connection: Connection, number: int, before: AlertState, after: AlertState, budget: float) -> None:
        if AlertState.FALSE_ALARM not in (before, after):
            return
        own = select(alerts.c.margin, alerts.c.state).where(
            alerts.c.query_number == number, alerts.c.state != AlertState.OPEN.value
        )
        judged = [Judged(row.margin, row.state == AlertState.FALSE_ALARM.value) for row in connection.execute(own)]
        margin = _query(connection, number).margin
        if after is AlertState.FALSE_ALARM:
            _update(connection, number, margin=tightened(margin, judged, budget))
        else:
            _update(connection, number, margin=min(margin, needed_margin(judged, budget)))

    def _alerts(self, query: Select[Any]) -> list[Alert]:
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            keys: dict[str, list[BlobKey]] = {row.tracklet_id: [] for row in rows}
            for part in in_parts(list(keys)):
                kept = select(crops.c.tracklet_id, crops.c.blob_key).where(crops.c.tracklet_id.in_(part))
                for name, key in connection.execute(kept.order_by(crops.c.tracklet_id, crops.c.rank)):
                    keys[name].append(BlobKey(key))
        return [_alert(row, keys[row.tracklet_id]) for row in rows]

    def _change(self, number: int, **values: Any) -> None:
        with self._changing() as connection:
            _query(connection, number)
            _update(connection, number, **values)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """One change after the other; the watcher reads the queries again after each."""
        with self._database.writing() as connection:
            # In the order of whoever erases: else each could wait for the other.
            locked(connection, "event_id")
            last = locked(connection, "standing_change")
            yield connection
            advance(connection, "standing_change", last + 1)


class UnknownStandingQuery(InvalidQuery):
    """No standing query has this number."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"there is no standing query {number}", "the number of one", "look at `sightline alerts queries`"
        )


class UnknownAlert(InvalidQuery):
    """No alert has this number."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"there is no alert {number}", "the number of one that was raised", "look at `sightline alerts list`"
        )


def read_queries(connection: Connection) -> list[StandingQuery]:
    """All standing queries, by number."""
    return [_standing(row) for row in connection.execute(select(standing_queries).order_by(standing_queries.c.number))]


def _query(connection: Connection, number: int) -> StandingQuery:
    query = select(standing_queries).where(standing_queries.c.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownStandingQuery(number)
    return _standing(row)


def _update(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(update(standing_queries).where(standing_queries.c.number == number).values(values))


def _alerts() -> Select[Any]:
    return (
        select(*_ALERT)
        .join(standing_queries, standing_queries.c.number == alerts.c.query_number)
        .join(tracklets, tracklets.c.tracklet_id == alerts.c.tracklet_id)
    )


def _standing(row: Row[Any]) -> StandingQuery:
    return StandingQuery(
        number=row.number,
        request=StandingRequest(
            question=row.question,
            name=row.name,
            made_by=row.made_by,
            camera_ids=tuple(CameraId(name) for name in row.camera_ids),
            window_s=row.window_s,
            daily_budget=row.daily_budget,
        ),
        made_at=row.made_at,
        margin=row.margin,
        test=None if row.tested_at is None else Trial(row.tested_at, row.tested_days, row.tested_fired),
        on_after=row.on_after,
    )


def _alert(row: Row[Any], crop_keys: Sequence[BlobKey]) -> Alert:
    return Alert(
        number=row.number,
        query_number=row.query_number,
        name=row.name,
        question=row.question,
        tracklet_id=TrackletId(row.tracklet_id),
        global_id=GlobalId(row.global_id),
        camera_id=CameraId(row.camera_id),
        started_at=row.started_at,
        ended_at=row.ended_at,
        raised_at=row.raised_at,
        margin=row.margin,
        confidence=row.confidence,
        is_quiet=row.is_quiet,
        state=AlertState(row.state),
        judged_by=row.judged_by,
        judged_at=row.judged_at,
        crop_keys=tuple(crop_keys),
    )
