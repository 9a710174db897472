"""What the API is made of, as plain objects; tests hand in fakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Annotated, cast

from fastapi import Depends, Request

from pipeline.contracts import CameraId
from pipeline.errors import Unavailable
from pipeline.interfaces import Blobs, Clock, StatusBoard
from pipeline.search.people import PeopleSearch
from services.alert_desk import AlertDesk
from services.api.other_sites import OtherSite
from services.corrections import CorrectionDesk


@dataclass(frozen=True, slots=True)
class ApiDependencies:
    """`zone` is the time zone of the site: clock times are read and shown in it. Each of `checks` returns when its part
    works and raises a `SightlineError` when it does not."""

    search: PeopleSearch
    blobs: Blobs
    board: StatusBoard
    corrections: CorrectionDesk
    alerts: AlertDesk
    clock: Clock
    zone: tzinfo
    site: str = "main"
    host: str = "127.0.0.1"
    token: str | None = None
    configured_cameras: tuple[CameraId, ...] = ()
    other_sites: tuple[OtherSite, ...] = ()
    checks: Mapping[str, Callable[[], object]] = field(default_factory=dict)

    def local_now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now(), UTC).astimezone(self.zone)

    def known_cameras(self) -> list[CameraId]:
        """Cameras that are configured, report, or have shown somebody, by name."""
        try:
            reporting = [CameraId(status.camera_id) for status in self.board.statuses()]
        except Unavailable:
            reporting = []  # a search needs no bus
        return sorted({*self.configured_cameras, *reporting, *self.search.cameras()})


def _dependencies(request: Request) -> ApiDependencies:
    return cast(ApiDependencies, request.app.state.dependencies)


Dependencies = Annotated[ApiDependencies, Depends(_dependencies)]
