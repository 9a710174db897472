"""What somebody may see who was granted some cameras: the search, the crops, the reasons and the live
pictures of these alone.

Each class stands where the whole one stands, so that no route has to think of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from pipeline.adapters.explanations import Explanation, Reasoned
from pipeline.contracts import (
    BlobKey,
    CameraId,
    CameraStatus,
    GlobalId,
    IdentityEvent,
    IdentityEventKind,
    Image,
    TrackletId,
)
from pipeline.decisions import NOBODY_YET
from pipeline.search.people import Answer, Look, Person, UnknownPerson
from pipeline.search.query import Filters, best_crops
from pipeline.search.understanding import understand
from services.api.live_wall import CameraView, LivePictures
from services.corrections import Explanations

Cameras = frozenset[CameraId]
CamerasOfCrop = Callable[[BlobKey], Cameras]

# What the matcher writes of an arrival begins with where its own track, or whoever is the closest, was seen.
_CAMERA_OF_REASON = re.compile(r"(?:track \d+ of|(?:new: closest is )?person \d+ seen in) ([^\s,]+)(?=,| is person )")
_NO_CAMERA = frozenset({CameraId("")})  # as a filter, an empty set would mean all of them


class People(Protocol):
    """What the API asks of a search: `PeopleSearch`, or what a caller may see of it."""

    def by_words(
        self,
        question: str,
        filters: Filters,
        cameras: Sequence[CameraId],
        now: datetime,
        limit: int,
        with_weak: bool = False,
    ) -> Answer: ...

    def say(
        self,
        question: str,
        global_id: GlobalId,
        is_right: bool,
        made_by: str,
        cameras: Sequence[CameraId],
        now: datetime,
    ) -> int: ...

    def verdicts_on(self, question: str) -> dict[GlobalId, bool]: ...

    def by_image(self, picture: Image, filters: Filters, limit: int, with_weak: bool = False) -> Answer: ...

    def by_identity(self, global_id: GlobalId, filters: Filters, limit: int, with_weak: bool = False) -> Answer: ...

    def by_look(self, look: Look, filters: Filters, limit: int, with_weak: bool = False) -> Answer: ...

    def look(self, global_id: GlobalId) -> Look: ...

    def person(self, global_id: GlobalId) -> Person: ...

    def recent(self, filters: Filters, limit: int, offset: int = 0) -> tuple[list[Person], int]: ...

    def cameras(self) -> list[CameraId]: ...


class Crops(Protocol):
    """Where crops are read: the part of `Blobs` that the API needs."""

    def get(self, key: BlobKey) -> bytes | None: ...


class GrantedPeople:
    """People as these cameras have seen them. Who was seen by others alone does not exist here."""

    def __init__(self, search: People, cameras: Cameras) -> None:
        self._search = search
        self._cameras = cameras

    def by_words(
        self,
        question: str,
        filters: Filters,
        cameras: Sequence[CameraId],
        now: datetime,
        limit: int,
        with_weak: bool = False,
    ) -> Answer:
        mine = [camera for camera in cameras if camera in self._cameras]
        # What the question names widens a choice of cameras, and narrows what was granted.
        named = understand(question, mine, now).narrowed(filters)
        return self._answer(self._search.by_words(question, self._filters(named), mine, now, limit, with_weak))

    def say(
        self,
        question: str,
        global_id: GlobalId,
        is_right: bool,
        made_by: str,
        cameras: Sequence[CameraId],
        now: datetime,
    ) -> int:
        mine = [camera for camera in cameras if camera in self._cameras]
        return self._search.say(question, self.person(global_id).global_id, is_right, made_by, mine, now)

    def verdicts_on(self, question: str) -> dict[GlobalId, bool]:
        """Numbers alone, shown beside people who are seen anyway."""
        return self._search.verdicts_on(question)

    def by_image(self, picture: Image, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        return self._answer(self._search.by_image(picture, self._filters(filters), limit, with_weak))

    def by_identity(self, global_id: GlobalId, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        known = self.person(global_id).global_id
        return self._answer(self._search.by_identity(known, self._filters(filters), limit, with_weak))

    def by_look(self, look: Look, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        return self._answer(self._search.by_look(look, self._filters(filters), limit, with_weak))

    def look(self, global_id: GlobalId) -> Look:
        """Made of all sightings, so nobody sees it who may not see all of them. Raises `UnknownPerson`."""
        raise UnknownPerson(global_id)

    def person(self, global_id: GlobalId) -> Person:
        found = self._cut(self._search.person(global_id))
        if found is None:
            raise UnknownPerson(global_id)
        return found

    def recent(self, filters: Filters, limit: int, offset: int = 0) -> tuple[list[Person], int]:
        people, total = self._search.recent(self._filters(filters), limit, offset)
        return [seen for person in people if (seen := self._cut(person)) is not None], total

    def cameras(self) -> list[CameraId]:
        return [camera for camera in self._search.cameras() if camera in self._cameras]

    def _filters(self, filters: Filters) -> Filters:
        chosen = filters.camera_ids & self._cameras if filters.camera_ids else self._cameras
        return replace(filters, camera_ids=chosen or _NO_CAMERA)

    def _answer(self, answer: Answer) -> Answer:
        people = (self._cut(person) for person in answer.people)
        return replace(answer, people=tuple(person for person in people if person is not None))

    def _cut(self, person: Person) -> Person | None:
        """What these cameras know of somebody."""
        route = tuple(stay for stay in person.route if stay.camera_id in self._cameras)
        if not route:
            return None
        seen = {key for stay in route for key in stay.crop_keys}
        count = len(person.crop_keys)
        kept = [key for key in person.crop_keys if key in seen]
        return replace(
            person,
            first_seen_at=min(stay.started_at for stay in route),
            last_seen_at=max(stay.ended_at for stay in route),
            route=route,
            crop_keys=tuple(dict.fromkeys((*kept, *best_crops(route, (), count))))[:count],
        )


class GrantedCrops:
    """Crops that one of these cameras has taken."""

    def __init__(self, crops: Crops, cameras_of_crop: CamerasOfCrop, cameras: Cameras) -> None:
        self._crops = crops
        self._cameras_of_crop = cameras_of_crop
        self._cameras = cameras

    def get(self, key: BlobKey) -> bytes | None:
        return self._crops.get(key) if self._cameras_of_crop(key) & self._cameras else None


class GrantedExplanations:
    """Reasons as far as they tell of these cameras.

    Left out are candidates that were last seen elsewhere, and corrections, because people may name anybody in them. The
    numbers that a tracklet had stay: whoever may see it saw it under them.
    """

    def __init__(self, explanations: Explanations, cameras: Cameras) -> None:
        self._explanations = explanations
        self._cameras = cameras

    def explanation(self, tracklet_id: TrackletId) -> Explanation | None:
        found = self._explanations.explanation(tracklet_id)
        if found is None or found.tracklet.camera_id not in self._cameras:
            return None
        decision, changes = (
            found.decision and self._cut(found.decision),
            tuple(self._cut(each) for each in found.changes),
        )
        is_cut = bool(found.laws) or (decision, changes) != (found.decision, found.changes)
        return replace(found, decision=decision, changes=changes, laws=(), is_cut=is_cut)

    def _cut(self, reasoned: Reasoned) -> Reasoned:
        event, evidence = reasoned.event, reasoned.evidence
        if not self._may_tell(event):
            event = event.model_copy(update={"reason": "the reason tells of what you may not see"})
        if evidence is not None:
            kept = tuple(each for each in evidence.candidates if each.camera_id in self._cameras)
            evidence = evidence.model_copy(update={"candidates": kept})
        return Reasoned(event, evidence)

    def _may_tell(self, event: IdentityEvent) -> bool:
        """Only what the matcher says of one arrival: whoever was closest, and where. Anything else may hold a note."""
        if event.kind is not IdentityEventKind.ASSIGNED:
            return False
        named = _CAMERA_OF_REASON.match(event.reason)
        return event.reason == NOBODY_YET if named is None else named[1] in self._cameras


class GrantedLivePictures:
    """The state and the newest pictures of these cameras, and who is in them."""

    def __init__(self, board: LivePictures, cameras: Cameras) -> None:
        self._board = board
        self._cameras = cameras

    def statuses(self) -> list[CameraStatus]:
        return [status for status in self._board.statuses() if status.camera_id in self._cameras]

    def views(self) -> list[CameraView]:
        return [view for view in self._board.views() if view.status.camera_id in self._cameras]

    def snapshot(self, camera_id: CameraId, reported_at: float | None = None) -> bytes | None:
        return self._board.snapshot(camera_id, reported_at) if camera_id in self._cameras else None
