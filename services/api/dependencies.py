"""What the API is made of, as plain objects; tests hand in fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Annotated, cast

from fastapi import Depends, Request

from pipeline.accounts import AccountStore
from pipeline.audit import AuditAction, AuditLog
from pipeline.contracts import CameraId, GlobalId
from pipeline.decisions import MAX_NAME
from pipeline.errors import Unavailable
from pipeline.forgetting import Keeping
from pipeline.interfaces import Clock
from services.alert_desk import AlertDesk
from services.api.callers import ANYBODY_HERE, TOKEN_NAME, Caller, caller_of
from services.api.crop_views import CropViews
from services.api.granted import (
    CamerasOfCrop,
    Crops,
    GrantedCrops,
    GrantedExplanations,
    GrantedLivePictures,
    GrantedPeople,
    People,
)
from services.api.live_wall import LivePictures
from services.api.long_work import LongWork
from services.api.oidc import IdentityProvider
from services.api.other_sites import OtherSite
from services.api.passwords import Passwords
from services.corrections import CorrectionDesk, Explanations
from services.erasing import ForgettingDesk
from services.operations import Operations


@dataclass(frozen=True, slots=True)
class ApiDependencies:
    """`zone` is the time zone of the site: clock times are read and shown in it. Each of `checks` returns when its part
    works and raises a `SightlineError` when it does not. `caller` is who sent the request in hand."""

    search: People
    blobs: Crops
    board: LivePictures
    corrections: CorrectionDesk
    forgetting: ForgettingDesk
    keeping: Callable[[str], Keeping]  # of a camera
    alerts: AlertDesk
    clock: Clock
    zone: tzinfo
    operations: Operations
    work: LongWork
    accounts: AccountStore
    audit: AuditLog
    explanations: Explanations
    cameras_of_crop: CamerasOfCrop
    crop_views: CropViews
    caller: Caller | None = None
    site: str = "main"
    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    provider: IdentityProvider | None = None
    passwords: Passwords = field(default_factory=Passwords)
    session_s: float = 12 * 3600.0
    open_metrics: bool = False
    needs_reason: bool = False  # each search says why
    configured_cameras: tuple[CameraId, ...] = ()
    other_sites: tuple[OtherSite, ...] = ()
    checks: Mapping[str, Callable[[], object]] = field(default_factory=dict)

    @property
    def who(self) -> Caller:
        """Who sent the request; only for routes that somebody must be logged in for."""
        if self.caller is None:
            raise RuntimeError("a route that everybody may call asks for its caller; correct its line in RIGHTS")
        return self.caller

    def maker(self, named: str | None) -> str:
        """Who says something that is kept. Nobody who is logged in can say that somebody else said it; the token of the
        settings speaks for many people."""
        is_account = self.who.name not in (ANYBODY_HERE.name, TOKEN_NAME)
        return self.who.name[:MAX_NAME] if is_account else named or self.who.name

    def record(self, action: AuditAction, subject: str, detail: Mapping[str, object] | None = None) -> None:
        """Into the audit log, by the caller. Raises `Unavailable`: then the request is not answered."""
        self.audit.record(self.who.name, action, subject, detail)

    def showed(self, people: Iterable[GlobalId]) -> None:
        """What was just recorded shows the caller these people: their crops need no entries of their own."""
        self.crop_views.showed(self.who.name, people)

    def of_caller(self, caller: Caller | None) -> ApiDependencies:
        """What a caller gets to see of all this: the one place where cameras are granted or not."""
        mine = replace(self, caller=caller)
        cameras = caller.camera_ids if caller is not None else frozenset()
        if cameras is None:
            return mine
        return replace(
            mine,
            search=GrantedPeople(self.search, cameras),
            blobs=GrantedCrops(self.blobs, self.cameras_of_crop, cameras),
            explanations=GrantedExplanations(self.explanations, cameras),
            board=GrantedLivePictures(self.board, cameras),
            configured_cameras=tuple(camera for camera in self.configured_cameras if camera in cameras),
        )

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
    whole = cast(ApiDependencies, request.app.state.dependencies)
    return whole.of_caller(caller_of(request.scope))


Dependencies = Annotated[ApiDependencies, Depends(_dependencies)]
